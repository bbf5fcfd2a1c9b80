//! The fuzzer's committed corpus, replayed: every datagram that once took it somewhere new still keeps the promises.

#[path = "corpus/promises.rs"]
mod promises;

use std::{fs, path::Path};

#[test]
fn the_corpus_keeps_the_promises() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/datagram");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        promises::hold(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 50, "{replayed} datagrams: the corpus has been lost");
}
