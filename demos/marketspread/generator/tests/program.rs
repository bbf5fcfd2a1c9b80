//! The program as a user meets it: flags, exit codes, and what it says when it cannot.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_generate-marketspread")).args(args).output().unwrap()
}

/// A path of this test's own, with nothing there.
fn fresh(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path.to_str().unwrap().to_owned()
}

fn check(args: &[&str], code: i32, stderr_has: &str) {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(stderr_has), "{args:?}: {stderr}");
    assert_eq!(stderr.is_empty(), stderr_has.is_empty(), "{args:?}: {stderr}");
}

#[test]
fn files_hold_what_was_asked_for() {
    let (nbbo, trades, mixed) = (fresh("nbbo.msg"), fresh("trades.msg"), fresh("mixed.msg"));
    check(&["--nbbo", "3", "--trades=5", "--nbbo-out", &nbbo, "--trades-out", &trades], 0, "");
    check(&["--nbbo", "10", "--orders-per-quote", "4", "--mixed-out", &mixed], 0, "");
    for (path, lines) in [(&nbbo, 3), (&trades, 5), (&mixed, 50)] {
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), lines, "{path}");
    }
}

#[test]
fn dash_is_stdout_and_holds_the_same() {
    let path = fresh("same.msg");
    check(&["--trades", "20", "--seed", "9", "--trades-out", &path], 0, "");
    let shown = run(&["--trades", "20", "--seed", "9", "--trades-out", "-"]);
    assert_eq!(shown.stdout, fs::read(&path).unwrap());
}

#[test]
fn own_symbols_replace_the_built_in_ones() {
    let path = fresh("own.csv");
    fs::write(&path, "symbol,price,spread,name\nOWN,1.5,0.1,Own\n").unwrap();
    let shown = String::from_utf8(run(&["--symbols", &path, "--nbbo", "4", "--nbbo-out", "-"]).stdout).unwrap();
    assert_eq!(shown.matches("\x0155=OWN\x01").count(), 4);
}

#[test]
fn failures_name_file_and_line() {
    let ragged = fresh("ragged.csv");
    fs::write(&ragged, "symbol,price,spread,name\nA,1,0.1,A\nB,1\n").unwrap();
    let out = fresh("never.msg");
    check(&["--symbols", &ragged, "--nbbo-out", &out], 1, "ragged.csv: line 3: 2 fields where 4 are needed");
    check(&["--symbols", &fresh("missing.csv"), "--nbbo-out", &out], 1, "missing.csv: No such file");
    check(&["--symbols", env!("CARGO_TARGET_TMPDIR"), "--nbbo-out", &out], 1, "Is a directory");
    assert!(!fs::exists(&out).unwrap(), "nothing is written before the companies are read");
    check(&["--nbbo-out", env!("CARGO_TARGET_TMPDIR")], 1, "cannot write");
    check(&["--nbbo-out", "/dev/full"], 1, "cannot write /dev/full: No space left");
}

#[test]
fn bad_command_lines_are_2() {
    check(&[], 2, "--nbbo-out");
    check(&["--nosuch"], 2, "--nosuch");
    check(&["--nbbo", "many", "--nbbo-out", "-"], 2, "many");
    check(&["--nbbo", "-1", "--nbbo-out", "-"], 2, "-1");
    check(&["--mixed-out", "-"], 2, "--orders-per-quote");
    check(&["--orders-per-quote", "3"], 2, "--mixed-out");
    check(&["--orders-per-quote", "3", "--nbbo-out", "-"], 2, "--nbbo-out");
    check(&["--mixed-out", "-", "--orders-per-quote", "3", "--trades", "9"], 2, "--trades");
    check(&["--mixed-out", "-", "--orders-per-quote", "3", "--nbbo-out", "-"], 2, "--nbbo-out");
}

#[test]
fn help_teaches_and_version_tells() {
    let help = run(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert_eq!(help.status.code(), Some(0));
    for part in ["Examples:", "symbol,price,spread,name", "Exit codes:", "--orders-per-quote <N>", "[default: 2016]"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version, concat!("generate-marketspread ", env!("CARGO_PKG_VERSION"), "\n"));
}
