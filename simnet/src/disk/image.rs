//! What is on the disk: what is seen, what is safe, and what lies between.

use std::{collections::BTreeMap, io};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::Operation;

/// What a disk writes whole or not at all, most of the time.
const SECTOR_BYTES: usize = 512;

pub(super) type FileId = u64;

/// All files, as they are seen and as they are safe.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    files: BTreeMap<FileId, File>,
    /// Names as they are seen, and as they are safe.
    pub(super) names: BTreeMap<String, FileId>,
    safe_names: BTreeMap<String, FileId>,
    changes: Vec<NameChange>,
    next_id: FileId,
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    safe: Vec<u8>,
    /// What leads from `safe` to `content`.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    /// The length, if it grows.
    Allocate(usize),
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    /// A file has this name and no other.
    Named(String, FileId),
    Removed(String, FileId),
}

impl Image {
    pub(super) fn file(&self, name: &str) -> Option<&File> {
        self.files.get(self.names.get(name)?)
    }

    fn file_mut(&mut self, name: &str) -> io::Result<&mut File> {
        let id = self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.files.entry(*id).or_default())
    }

    pub(super) fn list(&self) -> Vec<(String, u64)> {
        let length = |id| self.files.get(id).map_or(0, |file: &File| file.content.len() as u64);
        self.names.iter().map(|(name, id)| (name.clone(), length(id))).collect()
    }

    /// The length of all files that have a name.
    pub(super) fn bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.content.len() as u64).sum()
    }

    /// How much longer a file would get.
    pub(super) fn growth(&self, name: &str, length: u64) -> u64 {
        length.saturating_sub(self.file(name).map_or(0, |file| file.content.len() as u64))
    }

    pub(super) fn flip(&mut self, name: &str, place: u64, bit: u8) -> bool {
        let Ok(file) = self.file_mut(name) else { return false };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let mut flipped = false;
        for content in [&mut file.content, &mut file.safe] {
            if let Some(byte) = content.get_mut(place) {
                *byte ^= 1 << (bit % 8);
                flipped = true;
            }
        }
        flipped
    }

    pub(super) fn put(&mut self, name: &str, content: &[u8]) {
        let id = self.new_id();
        let (content, safe) = (content.to_vec(), content.to_vec());
        self.files.insert(id, File { content, safe, changes: Vec::new() });
        self.names.insert(name.to_owned(), id);
        self.safe_names.insert(name.to_owned(), id);
    }

    fn new_id(&mut self) -> FileId {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn apply(&mut self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Create(name) => {
                if self.names.contains_key(&name) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let id = self.new_id();
                self.files.insert(id, File::default());
                self.name(NameChange::Named(name, id));
            }
            Operation::Write(name, at, bytes) => {
                let at = usize::try_from(at).map_err(io::Error::other)?;
                self.file_mut(&name)?.change(Change::Write(at, bytes));
            }
            Operation::Allocate(name, len) => {
                let len = usize::try_from(len).map_err(io::Error::other)?;
                self.file_mut(&name)?.change(Change::Allocate(len));
            }
            Operation::SetLen(name, len) => {
                let len = usize::try_from(len).map_err(io::Error::other)?;
                self.file_mut(&name)?.change(Change::SetLen(len));
            }
            Operation::Sync(name) => {
                let file = self.file_mut(&name)?;
                for change in std::mem::take(&mut file.changes) {
                    change.apply(&mut file.safe);
                }
            }
            Operation::SyncDir => {
                for change in std::mem::take(&mut self.changes) {
                    change.apply(&mut self.safe_names);
                }
            }
            Operation::Rename(from, to) => {
                let id = *self.names.get(&from).ok_or(io::ErrorKind::NotFound)?;
                self.name(NameChange::Named(to, id));
            }
            Operation::Remove(name) => {
                let id = *self.names.get(&name).ok_or(io::ErrorKind::NotFound)?;
                self.name(NameChange::Removed(name, id));
            }
        }
        Ok(())
    }

    fn name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// The power goes: what was not synced is there in part, and all that is there is safe.
    pub(super) fn crash(&mut self, seed: u64) {
        let mut chance = SmallRng::seed_from_u64(seed);
        // Mostly little or nearly all is lost: that is where recovery has decisions to make.
        let kept_percent = *[0, 10, 50, 90, 97, 100].get(chance.random_range(0..6_usize)).unwrap_or(&50);
        let flips = chance.random_range(0..4) == 0;
        for change in std::mem::take(&mut self.changes) {
            if chance.random_range(0..100) < kept_percent {
                change.apply(&mut self.safe_names);
            }
        }
        self.names = self.safe_names.clone();
        let named: Vec<FileId> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
        for file in self.files.values_mut() {
            file.crash(&mut chance, kept_percent, flips);
        }
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.changes.push(change);
    }

    fn crash(&mut self, chance: &mut SmallRng, kept_percent: u32, flips: bool) {
        for change in std::mem::take(&mut self.changes) {
            let Change::Write(at, bytes) = change else {
                if chance.random_range(0..100) < kept_percent {
                    change.apply(&mut self.safe);
                }
                continue;
            };
            let (mut at, mut rest) = (at, bytes.as_slice());
            while !rest.is_empty() {
                let (sector, behind) = rest.split_at(rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
                let kept = match chance.random_range(0..100) {
                    kept if kept < kept_percent => sector.len(),
                    // Torn: it stopped in the middle.
                    torn if torn % 4 == 0 => chance.random_range(0..=sector.len()),
                    _ => 0,
                };
                let mut sector = sector.get(..kept).unwrap_or_default().to_vec();
                if flips && !sector.is_empty() && chance.random_range(0..8) == 0 {
                    let place = chance.random_range(0..sector.len());
                    if let Some(byte) = sector.get_mut(place) {
                        *byte ^= 1 << chance.random_range(0..8);
                    }
                }
                if !sector.is_empty() {
                    Change::Write(at, sector).apply(&mut self.safe);
                }
                at += rest.len() - behind.len();
                rest = behind;
            }
        }
        self.content.clone_from(&self.safe);
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at.saturating_add(bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                if let Some(place) = content.get_mut(*at..end) {
                    place.copy_from_slice(bytes);
                }
            }
            // Zeros from the system cost nothing.
            Self::Allocate(len) if content.is_empty() => *content = vec![0; *len],
            Self::Allocate(len) if content.len() < *len => content.resize(*len, 0),
            Self::Allocate(_) => {}
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            // Whatever else was kept: a file has one name, the old or the new.
            Self::Named(name, id) => {
                names.retain(|_, other| other != id);
                names.insert(name.clone(), *id);
            }
            Self::Removed(name, id) => {
                if names.get(name) == Some(id) {
                    names.remove(name);
                }
            }
        }
    }
}
