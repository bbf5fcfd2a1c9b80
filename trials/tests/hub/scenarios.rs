//! The page, as somebody sees it who has opened it in a browser.

use std::{net::SocketAddr, time::Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use trials::{Client, Node, TempFolder};

use crate::{
    browser::{DESK, Look, Page},
    hub::{node, post, start_hub, start_hub_at, state},
    invented::{now, queue},
    pipeline::{Pipeline, Reporting},
};

const PAGE_BYTES_MAX: u64 = 150_000;
const THE_THREE: [&str; 3] = ["MARKET_SPREAD", "NODE_1", "NODE_2"];

/// The row of a node in the table, as a script finds it.
fn row(id: &str) -> String {
    format!("[...document.querySelectorAll('#table tbody tr')].find((row) => row.dataset.id === {})", json!(id))
}

fn cell(id: &str, column: &str) -> String {
    format!("{}?.querySelector('.c-{column}')?.textContent", row(id))
}

fn standing(id: &str) -> String {
    format!("{}?.dataset.standing", row(id))
}

/// Waits until the page shows these nodes as alive.
#[track_caller]
fn wait_for_live(page: &Page, ids: &[&str]) {
    for id in ids {
        page.wait_until(&format!("{} && {} !== 'silent'", row(id), standing(id)));
    }
}

#[test]
fn the_three_pipelines_move_each_second() {
    let hub = start_hub();
    let _pipeline = Pipeline::start(hub.address(), "1k");
    for id in THE_THREE {
        node(hub.address(), id);
    }
    // The page's own clock begins with its navigation. A machine that is busy with other trials has three tries.
    let open = || {
        let page = Page::open(hub.address(), DESK);
        wait_for_live(&page, &THE_THREE);
        (page.look("performance.now()").as_f64().unwrap(), page)
    };
    let mut tries = (0..3).map(|_| open());
    let (_, page) = tries.find(|(took, _)| *took < 2_000.0).unwrap();
    // Each report moves a node's uptime on.
    let script = format!(
        "const seen = new Map(); const end = performance.now() + 5000;
         const look = () => {{ for (const id of {ids}) {{
             const row = [...document.querySelectorAll('#table tbody tr')].find((row) => row.dataset.id === id);
             const all = seen.get(id) ?? new Set(); seen.set(id, all.add(row.querySelector('.c-uptime').textContent));
         }} }};
         return new Promise((done) => {{ const turn = setInterval(() => {{
             look(); if (performance.now() > end) {{ clearInterval(turn); done([...seen.values()].map((all) => all.size)); }}
         }}, 50); }});",
        ids = json!(THE_THREE)
    );
    let moves = page.look(&format!("(() => {{ {script} }})()"));
    let moves: Vec<u64> = moves.as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(moves.iter().all(|moves| *moves >= 4), "in five seconds the rows said so many things: {moves:?}");
    page.wait_until("/unaccounted:? *0\\b/i.test(document.querySelector('#unaccounted').textContent)");
    page.wait_until("/healthy/i.test(document.querySelector('#health-state').textContent)");
    for id in ["FEEDER", "NODE_1", "NODE_2", "MARKET_SPREAD"] {
        page.wait_until(&format!("document.querySelector('#topology').textContent.includes({})", json!(id)));
    }
    page.assert_clean(false);
    let bytes = page.gzip_bytes();
    eprintln!("the page has {bytes} bytes, compressed");
    assert!((10_000..=PAGE_BYTES_MAX).contains(&bytes));
    page.picture("desk-light");
    for (name, dark, width, height) in [
        ("desk-dark", true, 1280, 720),
        ("phone-light", false, 360, 740),
        ("phone-dark", true, 360, 740),
        ("wide", false, 1920, 1080),
    ] {
        let page = Page::open_at(&format!("http://{}/?node=NODE_1", hub.address()), Look { dark, width, height });
        wait_for_live(&page, &THE_THREE);
        page.wait_until("document.querySelectorAll('canvas').length > 0");
        // Nothing is cut off to the right, nor is the page wider than its window.
        let over = page.look("document.documentElement.scrollWidth - innerWidth");
        assert!(over.as_i64() <= Some(0), "{name} is {over} pixels too wide");
        page.picture(name);
        page.assert_clean(false);
    }
}

#[test]
fn a_killed_worker_turns_stale_and_an_idle_one_does_not() {
    let hub = start_hub();
    let pipeline = Pipeline::idle(hub.address());
    let (input, output) = (pipeline.queue.address(), pipeline.sink.address());
    let doomed = pipeline.reporting.worker("DOOMED", "passthrough", input, output);
    let page = Page::open(hub.address(), DESK);
    wait_for_live(&page, &["DOOMED", "MARKET_SPREAD", "NODE_1", "NODE_2"]);
    doomed.stop(Signal::KILL);
    page.wait_until(&format!("{} === 'silent'", standing("DOOMED")));
    let known = state(hub.address());
    let silent = known["events"].as_array().unwrap().iter().find(|event| event["kind"] == "silent").unwrap();
    let after = silent["at"].as_f64().unwrap() - node(hub.address(), "DOOMED")["last_seen"].as_f64().unwrap();
    // Two and a half periods, and the hub looks once a second.
    assert_eq!((silent["node"].as_str(), (2.5..4.5).contains(&after)), (Some("DOOMED"), true), "after {after} s");
    // Others that have nothing to do are not stale, however long it lasts.
    let quiet = "new Promise((done) => { const end = performance.now() + 4000; const bad = [];
        const turn = setInterval(() => {
            for (const row of document.querySelectorAll('#table tbody tr'))
                if (row.dataset.id !== 'DOOMED' && row.dataset.standing === 'silent') bad.push(row.dataset.id);
            if (performance.now() > end) { clearInterval(turn); done(bad); }
        }, 50); })";
    assert_eq!(page.look(quiet), json!([]));
    page.wait_until("/trouble/i.test(document.querySelector('#health-state').textContent)");
    page.wait_until("document.querySelector('#health-text').textContent.includes('DOOMED')");
    page.wait_until("document.querySelector('#events').textContent.includes('DOOMED')");
    page.picture("stale");
    page.assert_clean(false);
}

#[test]
fn html_in_a_name_is_text() {
    let hub = start_hub();
    let image = "<img src=x onerror=\"window.harmed=1\">";
    let script = "<script>window.harmed=1</script>";
    for id in [image, script, "'\"><svg onload=window.harmed=1>"] {
        let mut report = queue(id, now(), 10);
        report["report"]["func"] = json!(image);
        report["report"]["weir"]["version"] = json!(script);
        report["report"]["weir"]["ledger"][image] = json!(7);
        report["report"]["weir"]["edges"] = json!([{"dir": "out", "index": 0, "peer": "127.0.0.1:8", "node": image, "guarantee": script, "sent": 1, "confirmed": 1, "waits": false}]);
        let answer = post(hub.address(), report.to_string());
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let page = Page::open(hub.address(), DESK);
    for id in [image, script] {
        page.wait_until(&row(id));
        page.wait_until(&format!("{}.includes({})", cell(id, "id"), json!(id)));
        page.run(&format!("const row = await page.evaluateHandle({}); await row.asElement().click();", json!(row(id))));
        page.wait_until(&format!("document.querySelector('#detail').textContent.includes({})", json!(id)));
        // Its series came, too, under the same name.
        page.wait_until("/out *[0-9]/.test(document.querySelector('#detail').textContent)");
        page.wait_until("/p99 *[0-9]/.test(document.querySelector('#detail').textContent)");
    }
    assert_eq!(page.look("[document.images.length, document.scripts.length, window.harmed ?? 0]")[2], json!(0));
    assert_eq!(page.look("document.querySelectorAll('main img, main script').length"), json!(0));
    page.picture("names");
    page.assert_clean(false);
}

#[test]
fn the_page_comes_back_after_its_hub() {
    let hub = start_hub();
    let address = hub.address();
    let report = |id: &str| assert_eq!(post(address, queue(id, now(), 10).to_string()).status, 202);
    report("BEFORE");
    let page = Page::open(address, DESK);
    page.wait_until(&row("BEFORE"));
    hub.stop(Signal::KILL);
    page.wait_until("!document.querySelector('#banner').hidden");
    page.picture("without-its-hub");
    let _hub = start_hub_at(&address.to_string(), &[]);
    report("AFTER");
    page.wait_until(&row("AFTER"));
    page.wait_until("document.querySelector('#banner').hidden");
    page.assert_clean(true);
}

#[test]
fn a_keyboard_reaches_all_of_it() {
    let hub = start_hub();
    for id in ["FIRST", "SECOND", "THIRD"] {
        post(hub.address(), queue(id, now(), 10).to_string());
    }
    let page = Page::open(hub.address(), DESK);
    for id in ["FIRST", "SECOND", "THIRD"] {
        page.wait_until(&row(id));
    }
    // Every control is reached by Tab, and says what it is.
    let mut reached = Vec::new();
    for _ in 0..80 {
        page.press("Tab");
        // The mark of the focus may be on what holds it, or on its frame.
        let focused = page.look(
            "(() => { const at = document.activeElement; if (!at || at === document.body) return null;
               const box = at.getBoundingClientRect();
               const marked = [at, at.parentElement, at.parentElement.parentElement, ...at.children].map((one) => getComputedStyle(one))
                   .some((style) => style.outlineStyle !== 'none' || parseFloat(style.strokeWidth) > 3);
               // A figure alone is no name.
               const name = at.getAttribute('aria-label') || at.labels?.[0]?.textContent || at.textContent.replace(/^[0-9., ]*(s|ms|us)?$/, '');
               return { name, tag: at.tagName, class: String(at.id || at.className), marked, seen: box.width > 0 }; })()",
        );
        if focused.is_null() {
            break;
        }
        reached.push(focused);
    }
    assert!(reached.len() > 8, "{reached:#?}");
    let bad: Vec<&Value> =
        reached.iter().filter(|at| at["name"] == "" || at["seen"] == false || at["marked"] == false).collect();
    assert!(bad.is_empty(), "reached, but without a name, a place or a mark: {bad:#?}");
    // From the filter to a row, and into its details.
    page.press("/");
    page.wait_until("document.activeElement.id === 'filter'");
    page.run("await page.keyboard.type('second')");
    page.wait_until("document.querySelectorAll('#table tbody tr').length === 1");
    page.run("await page.focus('#filter'); await page.keyboard.press('ControlOrMeta+a'); await page.keyboard.press('Delete')");
    page.wait_until("document.querySelectorAll('#table tbody tr').length === 3");
    page.run("await page.locator('#table tbody tr[tabindex=\"0\"]').focus()");
    page.press("Home");
    page.press("ArrowDown");
    page.wait_until("document.activeElement.dataset.id === 'SECOND'");
    page.press("Enter");
    page.wait_until("document.querySelector('#detail').textContent.includes('SECOND')");
    // What is seen is in the address, so that it can be sent to somebody.
    let url = page.run("return page.url()");
    assert!(url.as_str().unwrap().contains("SECOND"), "{url}");
    let same = Page::open_at(url.as_str().unwrap(), DESK);
    same.wait_until("document.querySelector('#detail').textContent.includes('SECOND')");
    page.assert_clean(false);
}

#[test]
fn two_hundred_nodes_stay_readable_and_quick() {
    let hub = start_hub();
    let post_all = |uptime: u64| {
        let reports: Vec<Value> = (0..200).map(|n| queue(&format!("NODE_{n:03}"), now(), uptime)).collect();
        assert_eq!(post(hub.address(), Value::from(reports).to_string()).status, 202);
    };
    post_all(1);
    let page = Page::open(hub.address(), DESK);
    page.wait_until("document.querySelectorAll('#table tbody tr').length === 200");
    // What its main thread has had of a core; wall time would be that of the machine's other work as well.
    page.run(
        "page.meter = await page.context().newCDPSession(page);
         await page.meter.send('Performance.enable', { timeDomain: 'threadTicks' });",
    );
    let core_time = || {
        let script = "const { metrics } = await page.meter.send('Performance.getMetrics');
            return metrics.find(({ name }) => name === 'TaskDuration').value;";
        page.run(script).as_f64().unwrap()
    };
    let (before, started) = (core_time(), Instant::now());
    for uptime in 2..=6 {
        post_all(uptime);
        page.wait_until(&format!("{} === '{uptime} s'", cell("NODE_007", "uptime")));
    }
    let share = (core_time() - before) / started.elapsed().as_secs_f64();
    let id = "NODE_123";
    let before = core_time();
    page.run(&format!("await page.fill('#filter', '{id}')"));
    page.wait_until("document.querySelectorAll('#table tbody tr').length === 1");
    page.wait_until(&row(id));
    let filter = core_time() - before;
    page.run("await page.fill('#filter', '')");
    page.picture("two-hundred");
    page.assert_clean(false);
    eprintln!("200 nodes: {:.0} % of a core, and {:.0} ms to filter", share * 100.0, filter * 1e3);
    assert!(share < 0.4, "{share} of a core");
    assert!(filter < 0.3, "the filter took {filter} s of a core");
}

/// A worker with hard work, a queue that is soon full before it, and a feeder that waits.
struct Overload {
    _reporting: Reporting,
    _end: Client,
    _nodes: [Node; 3],
    _folder: TempFolder,
}

impl Overload {
    fn start(hub: SocketAddr) -> Self {
        let folder = TempFolder::create();
        let number = "7".repeat(30_000);
        let path = folder.write("numbers", format!("{number}\n").repeat(50));
        let reporting = Reporting::to(hub);
        // Whoever takes the outputs does not report, and holds nobody up.
        let end = Client::open();
        let queue = reporting.server("mq", "FULL", &["--messages-max", "200"]);
        let flags = ["--function", "double", "--output-type", "socket"];
        let worker = reporting.worker_with("SLOW", queue.address(), end.address(), &flags);
        let feeder = reporting.feeder("FEEDER", queue.address(), &["--loop", "--format", "lines", "--path", &path]);
        Self { _reporting: reporting, _end: end, _nodes: [feeder, worker, queue], _folder: folder }
    }
}

#[test]
fn an_overloaded_worker_is_named_as_the_bottleneck() {
    let hub = start_hub();
    let _overload = Overload::start(hub.address());
    let page = Page::open(hub.address(), DESK);
    page.wait_until("/bottleneck/i.test(document.querySelector('#health-state').textContent)");
    page.wait_until("document.querySelector('#health-text').textContent.includes('SLOW')");
    page.wait_until(&format!("{} === 'bottleneck'", standing("SLOW")));
    let health = state(hub.address())["health"].clone();
    assert_eq!(health["bottleneck"]["node"], "SLOW", "{health:#}");
    page.picture("bottleneck");
    page.assert_clean(false);
}
