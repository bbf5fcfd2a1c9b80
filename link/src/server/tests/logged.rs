//! What waits for the log, and what does not.

use wal::{Committed, Opened};

use super::*;

/// A queue with a new log that takes everything.
fn with_log() -> Bench {
    let limits = ServerLimits { messages_max: 100, ..ServerLimits::default() };
    let opened = Opened {
        node: NODE,
        boot: 1,
        is_new: true,
        next_offset: 0,
        end: 0,
        kept_from: 0,
        kept_bytes: 0,
        room: 1 << 30,
        cut_bytes: 0,
        set_aside: Vec::new(),
    };
    let server = Recovery::new(limits, Durability::Disk, None).finish(1, &opened);
    let mut bench = Bench { server, ms: 0, token: 0 };
    bench.commit();
    bench
}

impl Bench {
    /// All that has happened is written down; the answers that leave then.
    fn commit(&mut self) -> String {
        if let Some(commit) = self.server.poll_commit(self.now()) {
            let committed = Committed {
                records: commit.records,
                end: 0,
                next_offset: 0,
                room: 1 << 30,
                kept_from: 0,
                kept_bytes: 0,
                wants_snapshot: false,
                snapshot_taken: false,
                reads: Vec::new(),
            };
            self.server.handle_committed(self.now(), committed).unwrap();
        }
        self.step("+0")
    }

    /// Does one step and writes it down.
    fn step_for_good(&mut self, step: &str) -> String {
        assert_eq!(self.step(step), "", "{step}");
        self.commit()
    }
}

/// What an answer says under a key.
fn field<'a>(answer: &'a str, key: &str) -> &'a str {
    answer.split([' ', '\n']).find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).unwrap()
}

#[test]
fn a_request_that_waits_gets_its_message_as_soon_as_that_is_durable() {
    let mut bench = with_log();
    let opened = bench.step_for_good("OPEN p=7 k=1");
    let epoch = field(&opened, "e").to_owned();
    let stored = bench.step_for_good(&format!("ENQ p=7 e={epoch} s=0 n=1 t=5 | 11a"));
    assert!(stored.contains("STORED s=1"), "{stored}");
    let first = bench.step("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000");
    assert!(first.starts_with("MSG n=1"), "durable, and nothing is said that is not: {first}");
    let lease = field(&first, "l").to_owned();
    let waits = bench.step_for_good(&format!("DEQ k=1 n=2 lo=2 m=10 z=1000 wt=1000 ls=1000 f={lease}"));
    assert_eq!(waits, "", "there is no message");
    let both = bench.step_for_good(&format!("ENQ p=7 e={epoch} s=1 n=1 t=5 | 11b"));
    assert!(both.contains("MSG n=2") && both.contains("v=d"), "that it was handed out need not be durable: {both}");
    assert!(both.contains("STORED s=2"), "{both}");
}

#[test]
fn what_is_said_of_finishes_waits_for_them() {
    let mut bench = with_log();
    for message in ["a", "b", "c"] {
        bench.step(&format!("PUT {message}"));
    }
    bench.commit();
    let first = bench.step("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=0 ls=1000");
    let lease = field(&first, "l").to_owned();
    assert_eq!(bench.step(&format!("DEQ k=1 n=2 lo=2 m=1 z=1000 wt=0 ls=1000 f={lease}")), "");
    let passes = bench.step("DEQ k=1 n=3 lo=2 m=1 z=1000 wt=0 ls=1000");
    assert!(passes.starts_with("MSG n=3"), "it finishes nothing: {passes}");
    assert_eq!(field(&passes, "w"), "0", "a crash may yet forget the finish");
    let waited = bench.commit();
    assert!(waited.contains("MSG n=2") && waited.contains("v=d"), "{waited}");
    assert_eq!(field(&waited, "w"), "1");
}
