//! The real disk.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use wal::{Commit, Directory, DirectoryError, Disk as _, Log, verify};

use crate::model::{Seen, messages, options, records, snapshot};

/// A directory of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wal-{name}-{}", std::process::id()));
        // What an earlier run left behind.
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Folder) -> (Log, Seen) {
    let mut seen = Seen::default();
    let disk = Box::new(Directory::open(&folder.0).unwrap());
    let mut replay = |entry: wal::Entry<'_>| {
        seen.take(entry);
        Ok(())
    };
    let (log, _) = Log::open(disk, options(), 0, &mut replay, &mut |_, _| {}).unwrap();
    (log, seen)
}

#[test]
fn a_log_lives_in_a_directory() {
    let folder = Folder::new("lives");
    let mut count = 0;
    for _ in 0..5 {
        let (mut log, seen) = open(&folder);
        assert_eq!(seen.count, count);
        let mut wants_snapshot = false;
        for _ in 0..30 {
            let records = records(count, count + 7);
            count += 7;
            let snapshot = wants_snapshot.then(|| snapshot(count));
            let committed = log.commit(Commit { records, snapshot, ..Commit::default() }).unwrap();
            wants_snapshot = committed.wants_snapshot;
        }
    }
    let verified = verify(&mut Directory::look_at(&folder.0).unwrap(), &mut |_| Ok(())).unwrap();
    assert_eq!((verified.records, verified.next_offset, verified.boots), (count, messages(count), 5));
    assert!(verified.segments > 3);
}

#[test]
fn a_commit_of_thousands_of_blocks_is_written_whole() {
    let folder = Folder::new("parts");
    let (mut log, _) = open(&folder);
    let mut framed = Vec::new();
    for _ in 0..1_500 {
        wal::frame(&mut framed, 1, &vec![7; 200 << 10]);
        if framed.len() > 100 << 20 {
            break;
        }
    }
    let end = log.commit(Commit { records: framed, ..Commit::default() }).unwrap().end;
    drop(log);
    let verified = verify(&mut Directory::look_at(&folder.0).unwrap(), &mut |_| Ok(())).unwrap();
    assert_eq!((verified.end, verified.damage.len()), (end, 0));
}

#[test]
fn one_process_at_a_time() {
    let folder = Folder::new("lock");
    let first = Directory::open(&folder.0).unwrap();
    let error = Directory::open(&folder.0).unwrap_err();
    assert!(matches!(error, DirectoryError::InUse(_)), "{error}");
    assert!(error.to_string().contains(&format!("{} is in use", folder.0.display())), "{error}");
    drop(first);
    drop(Directory::open(&folder.0).unwrap());
}

#[test]
fn a_file_or_a_missing_parent_is_said_with_its_path() {
    let folder = Folder::new("bad");
    fs::create_dir(&folder.0).unwrap();
    let file = folder.0.join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Directory::open(&file).unwrap_err(), DirectoryError::NotADirectory(path) if path == file));
    assert!(matches!(Directory::open(&file.join("in")).unwrap_err(), DirectoryError::NotADirectory(_)));
    let deep = folder.0.join("a/b");
    let error = Directory::open(&deep).unwrap_err();
    assert!(error.to_string().contains(&format!("cannot make {}", deep.display())), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_is_said() {
    let folder = Folder::new("permission");
    fs::create_dir(&folder.0).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anyway: then there is nothing to see.
    let may_write = fs::write(folder.0.join("probe"), "x").is_ok();
    match Directory::open(&folder.0) {
        Err(error) => assert!(error.to_string().contains("no permission to write in"), "{error}"),
        Ok(_) => assert!(may_write),
    }
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn looking_changes_nothing_and_waits_for_nobody() {
    let folder = Folder::new("look");
    let (mut log, _) = open(&folder);
    log.commit(Commit { records: records(0, 5), ..Commit::default() }).unwrap();
    let error = Directory::look_at(&folder.0).unwrap_err().to_string();
    assert!(error.contains("look"), "{error}");
    drop(log);
    let mut look = Directory::look_at(&folder.0).unwrap();
    assert_eq!(verify(&mut look, &mut |_| Ok(())).unwrap().records, 5);
    assert!(look.set_len("weir-log", 0).is_err());
    assert!(Directory::open(&folder.0).is_err(), "nobody writes while somebody looks");
    let error = Directory::look_at(&folder.0.join("none")).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}

#[test]
fn a_file_that_grows_and_shrinks_reads_as_it_should() {
    let folder = Folder::new("file");
    let mut disk = Directory::open(&folder.0).unwrap();
    disk.create("a").unwrap();
    assert!(disk.create("a").is_err());
    disk.allocate("a", 10_000).unwrap();
    disk.write_at("a", 9_990, &[std::io::IoSlice::new(b"0123"), std::io::IoSlice::new(b"456789ab")]).unwrap();
    disk.sync("a").unwrap();
    disk.rename("a", "b").unwrap();
    disk.sync_dir().unwrap();
    let mut read = [1; 20];
    assert_eq!(disk.read_at("b", 9_988, &mut read).unwrap(), 14);
    assert_eq!(&read[..14], b"\0\x000123456789ab");
    disk.set_len("b", 9_992).unwrap();
    assert!(disk.list().unwrap().contains(&("b".to_owned(), 9_992)));
    disk.remove("b").unwrap();
    assert!(disk.read_at("b", 0, &mut read).unwrap_err().to_string().contains("/b: "));
}
