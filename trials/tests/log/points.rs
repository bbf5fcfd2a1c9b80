//! A queue that is killed as it enters a call to the system: at every call of a scripted load that writes, syncs, names or
//! answers, and of the start after a crash.
//!
//! `strace` kills. Short: a sample that a seed draws. `WEIR_KILL_POINTS=all` is every one of them: `./kill-everywhere.sh`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use rand::{SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use rustix::process::Signal;
use trials::{Node, TempFolder, wait_for, wait_until};

use crate::{
    copy,
    model::{Model, Seen, Step},
    peer::Peer,
    queue,
    script::{PRODUCER, Script, Sender},
};

const SEED: u64 = 5;
const STEPS: u32 = 200;
const TEXT_BYTES_MAX: usize = 2_000;
/// How many points of a load are tried in the short form.
const SAMPLE: usize = 16;

/// All calls that change files or names, and those by which answers leave.
const CALLS: [&str; 17] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "fdatasync",
    "fsync",
    "fallocate",
    "ftruncate",
    "openat",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "sendmsg",
];

/// Those that also answer; not all machines have all of them.
const MORE_CALLS: [&str; 2] = ["sendmmsg", "sendto"];

/// At the n-th time (from 1) that a thread enters the call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    call: String,
    n: u32,
}

fn strace(flags: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.arg("-f").args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn all_calls() -> String {
    // A machine that does not have one of them says nothing for the question mark.
    CALLS.iter().chain(&MORE_CALLS).map(|call| format!("?{call}")).collect::<Vec<_>>().join(",")
}

fn counting(into: &Path) -> Vec<String> {
    vec!["-e".into(), format!("trace={}", all_calls()), "-o".into(), into.to_str().unwrap().into()]
}

fn killing(point: &Point) -> Vec<String> {
    let Point { call, n } = point;
    let inject = format!("inject={call}:signal=SIGKILL:when={n}");
    vec!["-e".into(), format!("trace={call}"), "-e".into(), inject, "-o".into(), "/dev/null".into()]
}

/// The points that a trace passed.
fn points(trace: &Path) -> Vec<Point> {
    let text = fs::read_to_string(trace).unwrap();
    let mut entered: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if CALLS.iter().chain(&MORE_CALLS).any(|known| *known == call) {
            *entered.entry((call, thread)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for ((call, _), count) in entered {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    most.into_iter().flat_map(|(call, count)| (1..=count).map(|n| Point { call: call.to_owned(), n })).collect()
}

/// Follows a process from now on.
pub(crate) fn attach(peer: &Peer, flags: &[String]) -> Node {
    let process = peer.node.id().to_string();
    let mut command = strace(flags);
    let tracer = Node::start(command.args(["-p", &process]));
    tracer.stderr.wait_for("attached");
    tracer
}

/// Starts a queue under strace; the process is the queue's own.
fn start_traced(data: &Path, flags: &[String]) -> Option<Peer> {
    let queue = queue(data);
    let mut command = strace(flags);
    command.arg("-D").arg(queue.get_program()).args(queue.get_args());
    Peer::start(&mut command)
}

/// Plays the script on a queue that is followed in this way, up to its end or to the kill.
fn play(data: &Path, flags: &[String]) -> (Script, Option<Step>, bool) {
    let mut peer = Peer::start(&mut queue(data)).unwrap();
    let tracer = attach(&peer, flags);
    let mut script = Script::new(SEED, TEXT_BYTES_MAX);
    let unanswered = script.play(&mut peer, STEPS).err();
    if unanswered.is_none() && peer.node.is_running() {
        peer.node.signal(Signal::TERM);
    }
    let ended = peer.end();
    tracer.wait();
    let was_killed = ended.code.is_none();
    assert!(was_killed || ended.code == Some(0) && unanswered.is_none(), "{}", ended.log());
    (script, unanswered, was_killed)
}

/// Starts the queue, looks at it, and ends it.
#[track_caller]
fn look(data: &Path, end: Signal) -> Seen {
    let mut peer = Peer::start(&mut queue(data)).unwrap();
    let seen = Seen::of(&mut peer, data);
    peer.node.stop(end);
    seen
}

/// What was answered holds, and a second start changes nothing; in the end each open message comes, once.
#[track_caller]
fn check(data: &Path, model: &Model, unanswered: Option<&Step>) {
    let seen = look(data, Signal::KILL);
    assert_eq!(seen, look(data, Signal::TERM), "a second start changes something");
    let may_be = model.after_unanswered(unanswered);
    let candidates: Vec<&Model> = may_be.iter().filter(|model| model.is(&seen)).collect();
    assert!(!candidates.is_empty(), "unanswered: {unanswered:?}\nseen: {seen:?}\nanswered: {model:?}");
    let mut peer = Peer::start(&mut queue(data)).unwrap();
    let mut expected: Vec<Vec<String>> = candidates.iter().map(|model| model.open_texts()).collect();
    if let Some(Step::Enqueue { sequence, texts }) = unanswered {
        // The producer sends again what was not answered: then it is there once.
        let (sender, next) = Sender::open(&mut peer, PRODUCER, 2).unwrap();
        assert!(next == *sequence || next == sequence + texts.len() as u64, "{next} of {sequence}");
        let stored = sender.send(&mut peer, *sequence, texts, None);
        assert_eq!(stored, Some(sequence + texts.len() as u64));
        expected = may_be.last().map(Model::open_texts).into_iter().collect();
    }
    let mut drained = Vec::new();
    wait_until("all that is open", || {
        let text = peer.say("GET").unwrap();
        let is_empty = text.is_empty();
        drained.extend(Some(text).filter(|text| !text.is_empty()));
        is_empty && peer.stat().sum(&["ready", "leased"]) == 0
    });
    drained.sort_unstable();
    assert!(expected.contains(&drained), "unanswered: {unanswered:?}\ntaken: {drained:?}\nexpected: {expected:?}");
    peer.stat().assert_balanced();
    peer.node.stop(Signal::TERM);
}

/// All points, or a sample.
fn chosen(points: &[Point]) -> Vec<Point> {
    if std::env::var_os("WEIR_KILL_POINTS").is_some_and(|which| which == "all") {
        return points.to_vec();
    }
    points.choose_multiple(&mut SmallRng::seed_from_u64(SEED), SAMPLE).cloned().collect()
}

/// Tries each, on two processors.
fn each(points: &[Point], work: impl Fn(&Point) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(point);
                }
            });
        }
    });
}

#[track_caller]
pub(crate) fn assert_strace_works() {
    let ended = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    assert!(
        ended.is_ok_and(|status| status.success()),
        "strace cannot be run here: install it (./test.sh does), and allow ptrace (in a container: --cap-add SYS_PTRACE)"
    );
}

#[test]
fn what_was_answered_survives_a_kill_at_any_call() {
    assert_strace_works();
    let folder = TempFolder::create();
    let trace = folder.path().join("trace");
    let data = folder.path().join("whole");
    let (script, unanswered, was_killed) = play(&data, &counting(&trace));
    assert_eq!((unanswered, was_killed), (None, false));
    check(&data, &script.model, None);
    let all = points(&trace);
    let (tried, killed) = (chosen(&all), AtomicUsize::new(0));
    each(&tried, |point| {
        let data = folder.path().join(format!("{}-{}", point.call, point.n));
        let (script, unanswered, was_killed) = play(&data, &killing(point));
        killed.fetch_add(usize::from(was_killed), Ordering::Relaxed);
        check(&data, &script.model, unanswered.as_ref());
        fs::remove_dir_all(&data).unwrap();
    });
    tell("a load", &all, &tried, &killed);
}

#[test]
fn what_was_answered_survives_a_kill_at_any_call_of_the_next_start() {
    assert_strace_works();
    let folder = TempFolder::create();
    for name in ["new", "crashed"] {
        let (base, mut model) = (folder.path().join(name), Model::default());
        if name == "crashed" {
            let mut peer = Peer::start(&mut queue(&base)).unwrap();
            let mut script = Script::new(SEED, TEXT_BYTES_MAX);
            assert_eq!(script.play(&mut peer, STEPS / 2), Ok(()));
            peer.node.stop(Signal::KILL);
            model = script.model;
        }
        let prepare = |to: PathBuf| {
            if base.exists() {
                copy(&base, &to);
            }
            to
        };
        let trace = folder.path().join("trace");
        let data = prepare(folder.path().join(format!("{name}-whole")));
        start_traced(&data, &counting(&trace)).unwrap().node.stop(Signal::KILL);
        wait_for("the trace's end", || fs::read_to_string(&trace).unwrap().contains("killed by SIGKILL").then_some(()));
        let all = points(&trace);
        let (tried, killed) = (chosen(&all), AtomicUsize::new(0));
        each(&tried, |point| {
            let data = prepare(folder.path().join(format!("{name}-{}-{}", point.call, point.n)));
            // What listens is killed now, if it was not just before.
            let was_killed = start_traced(&data, &killing(point)).is_none();
            killed.fetch_add(usize::from(was_killed), Ordering::Relaxed);
            check(&data, &model, None);
        });
        tell(&format!("the start of a {name} queue"), &all, &tried, &killed);
    }
}

#[expect(clippy::print_stderr, reason = "how much was tried is to be seen")]
fn tell(what: &str, all: &[Point], tried: &[Point], killed: &AtomicUsize) {
    let mut by_call: BTreeMap<&str, u32> = BTreeMap::new();
    for point in all {
        *by_call.entry(&point.call).or_default() += 1;
    }
    eprintln!("{what}: tried {} of {} points, killed at {killed:?}; {by_call:?}", tried.len(), all.len());
    assert!(killed.load(Ordering::Relaxed) * 10 >= tried.len() * 8, "most points are to be met");
}
