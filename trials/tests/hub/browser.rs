//! A browser that a trial leads: `browser.mjs` in its own process, one for all trials.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use trials::{Node, PATIENCE, programs_folder};

/// It ends when the trials do, for then its stdin does.
static BROWSER: LazyLock<Mutex<Browser>> = LazyLock::new(|| Mutex::new(Browser::start()));

struct Browser {
    node: Node,
    stdin: ChildStdin,
    asked: u64,
}

impl Browser {
    fn start() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here.join("../hub/page/node_modules");
        let found = modules.join("playwright-core").exists();
        assert!(found, "there is no playwright-core in {}: run ./test.sh once, or npm ci", modules.display());
        let mut command = Command::new("node");
        command.arg(here.join("tests/hub/browser.mjs")).arg(modules);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut node = Node::start(&mut command);
        let stdin = node.stdin().unwrap();
        Self { node, stdin, asked: 0 }
    }

    fn lock() -> MutexGuard<'static, Self> {
        BROWSER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command, and gives its number and where its answer will be.
    fn send(&mut self, mut command: Value) -> (u64, trials::Lines) {
        self.asked += 1;
        command["id"] = json!(self.asked);
        writeln!(self.stdin, "{command}").unwrap();
        (self.asked, self.node.stdout.clone())
    }
}

#[track_caller]
fn ask(command: &Value) -> Value {
    // Not locked while it waits: several trials ask at once.
    let (id, lines) = Browser::lock().send(command.clone());
    let mut answer: Value = serde_json::from_str(&lines.wait_for(&format!("{{\"id\":{id},"))).unwrap();
    assert_eq!(answer["error"], Value::Null, "{command}");
    answer["value"].take()
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) dark: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

pub(crate) const DESK: Look = Look { dark: false, width: 1280, height: 720 };

/// A page of the hub.
#[derive(Debug)]
pub(crate) struct Page {
    number: u64,
}

impl Page {
    pub(crate) fn open(hub: SocketAddr, look: Look) -> Self {
        Self::open_at(&format!("http://{hub}/"), look)
    }

    pub(crate) fn open_at(url: &str, Look { dark, width, height }: Look) -> Self {
        let number = ask(&json!({"open": url, "dark": dark, "width": width, "height": height})).as_u64().unwrap();
        Self { number }
    }

    /// What a script gives that has playwright's `page`.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        ask(&json!({"page": self.number, "run": script}))
    }

    /// What an expression gives in the page.
    #[track_caller]
    pub(crate) fn look(&self, expression: &str) -> Value {
        self.run(&format!("return await page.evaluate({})", json!(expression)))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait_until(&self, expression: &str) {
        // The browser's word comes before the harness loses its patience.
        let patience = u64::try_from(PATIENCE.as_millis()).unwrap() * 4 / 5;
        ask(&json!({"page": self.number, "until": expression, "ms": patience}));
    }

    #[track_caller]
    pub(crate) fn press(&self, key: &str) {
        self.run(&format!("await page.keyboard.press({})", json!(key)));
    }

    /// Keeps a picture beside the other output of the tests, and gives its path.
    #[track_caller]
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let folder = programs_folder().join("hub-pictures");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name).with_extension("png");
        self.run(&format!("await page.screenshot({{ path: {} }})", json!(path)));
        path
    }

    /// Nothing went wrong that the page could have done better, and it asked nobody but the hub. With `may_fail`, requests
    /// may have failed: then the browser itself says so.
    #[track_caller]
    pub(crate) fn assert_clean(&self, may_fail: bool) {
        let heard = self.heard();
        let errors = heard["errors"].as_array().unwrap().iter().filter_map(Value::as_str);
        let errors: Vec<_> = errors.filter(|error| !may_fail || !error.contains("Failed to load resource")).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((&heard["strangers"], &heard["dialogs"]), (&json!([]), &json!(0)));
    }

    /// What its own files have, compressed.
    pub(crate) fn gzip_bytes(&self) -> u64 {
        self.heard()["files"].as_array().unwrap().iter().map(|file| file["gzip"].as_u64().unwrap()).sum()
    }

    fn heard(&self) -> Value {
        ask(&json!({"page": self.number, "heard": true}))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it looked like when it failed.
            let folder = programs_folder().join("hub-pictures");
            let _ = std::fs::create_dir_all(&folder);
            let path = folder.join(format!("failed-{}.png", self.number));
            let run = format!("await page.screenshot({{ path: {} }})", json!(path));
            Browser::lock().send(json!({"page": self.number, "run": run}));
            return;
        }
        ask(&json!({"page": self.number, "close": true}));
    }
}
