//! The history on disk: slots, nodes and events in one file, written every few seconds.

use std::{fmt::Display, fs, path::Path};

use hub::{EVENTS_MAX, Event, Hub, Kept, KeptNode, Slot};
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _};
use runtime::Failure;

/// By name: what a node is, as JSON.
const NODES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("nodes");
/// By name, ring and tick.
const SLOTS: TableDefinition<'_, (&str, u8, u32), &[u8]> = TableDefinition::new("slots");
/// By number, as JSON.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// The form of all this.
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("weir_hub_format");
const FORMAT_NOW: u64 = 1;

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    file: Database,
    name: String,
}

/// What is to be written down.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) nodes: Vec<KeptNode>,
    pub(crate) forgotten: Vec<String>,
    pub(crate) events: Vec<Event>,
}

impl Store {
    /// Opens or makes the file in a folder, which is made if it is not there.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("hub.redb");
        let name = path.display().to_string();
        fs::create_dir_all(folder)
            .map_err(|error| Failure::new(format!("cannot make {}: {error}", folder.display())))?;
        let file = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Failure::new(format!("{name} is in use by another hub: end it, or choose another --data"))
            }
            error => foreign(&name, error),
        })?;
        let store = Self { file, name };
        store.check()?;
        Ok(store)
    }

    /// Whether the file is a hub's, or new.
    fn check(&self) -> Result<(), Failure> {
        let failed = |error: redb::Error| foreign(&self.name, error);
        let write = self.file.begin_write().map_err(|error| failed(error.into()))?;
        let tables = write.list_tables().map_err(|error| failed(error.into()))?;
        let names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
        let found = {
            let mut format = write.open_table(FORMAT).map_err(|error| failed(error.into()))?;
            if names.is_empty() {
                format.insert("format", FORMAT_NOW).map_err(|error| failed(error.into()))?;
            }
            let found = format.get("format").map_err(|error| failed(error.into()))?;
            found.map(|found| found.value())
        };
        match found {
            Some(FORMAT_NOW) => {}
            Some(other) => return Err(foreign(&self.name, format!("its format is {other}, not {FORMAT_NOW}"))),
            None => return Err(foreign(&self.name, "it is of another program")),
        }
        for opened in
            [write.open_table(NODES).map(drop), write.open_table(SLOTS).map(drop), write.open_table(EVENTS).map(drop)]
        {
            opened.map_err(|error| failed(error.into()))?;
        }
        write.commit().map_err(|error| failed(error.into()))
    }

    /// Puts what was written down into the hub.
    pub(crate) fn load(&self, hub: &mut Hub) -> Result<(), Failure> {
        self.try_load(hub).map_err(|error| foreign(&self.name, error))
    }

    fn try_load(&self, hub: &mut Hub) -> Result<(), redb::Error> {
        let read = self.file.begin_read()?;
        let (nodes, slots, events) = (read.open_table(NODES)?, read.open_table(SLOTS)?, read.open_table(EVENTS)?);
        for row in nodes.iter()? {
            let (id, kept) = row?;
            let id = id.value();
            let kept: Kept = serde_json::from_slice(kept.value()).map_err(damaged)?;
            let mut rings = [Vec::new(), Vec::new(), Vec::new()];
            for (number, ring) in (0_u8..).zip(&mut rings) {
                for row in slots.range((id, number, 0)..=(id, number, u32::MAX))? {
                    let (key, slot) = row?;
                    ring.push(Slot::from_bytes(key.value().2, slot.value()).ok_or_else(|| damaged("a slot"))?);
                }
            }
            hub.restore(id.to_owned(), kept, rings);
        }
        for row in events.iter()? {
            hub.restore_event(serde_json::from_slice(row?.1.value()).map_err(damaged)?);
        }
        Ok(())
    }

    /// Writes down what changed, all or nothing.
    pub(crate) fn save(&self, batch: &Batch) -> Result<(), redb::Error> {
        let write = self.file.begin_write()?;
        {
            let mut nodes = write.open_table(NODES)?;
            let mut slots = write.open_table(SLOTS)?;
            for id in &batch.forgotten {
                nodes.remove(id.as_str())?;
                slots.retain_in((id.as_str(), 0, 0)..=(id.as_str(), u8::MAX, u32::MAX), |_, _| false)?;
            }
            for node in &batch.nodes {
                let id = node.id.as_str();
                nodes.insert(id, serde_json::to_vec(&node.kept).map_err(damaged)?.as_slice())?;
                for (number, (oldest, new)) in (0_u8..).zip(&node.rings) {
                    for slot in new {
                        slots.insert((id, number, slot.tick), slot.to_bytes().as_slice())?;
                    }
                    if !new.is_empty() {
                        slots.retain_in((id, number, 0)..(id, number, *oldest), |_, _| false)?;
                    }
                }
            }
            let mut events = write.open_table(EVENTS)?;
            for event in &batch.events {
                events.insert(event.n, serde_json::to_vec(event).map_err(damaged)?.as_slice())?;
                events
                    .retain_in(..=event.n.saturating_sub(EVENTS_MAX as u64), |n, _| n + EVENTS_MAX as u64 > event.n)?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

fn damaged(what: impl Display) -> redb::Error {
    redb::Error::Corrupted(what.to_string())
}

fn foreign(name: &str, error: impl Display) -> Failure {
    Failure::new(format!(
        "{name} is no history of a hub that can be read: {error}; move it away, or choose another --data"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("hub-store-{name}-{}", std::process::id()));
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

    fn save(store: &Store, hub: &mut Hub) {
        let (nodes, forgotten) = hub.take_new();
        store.save(&Batch { nodes, forgotten, events: hub.events_since(0).0 }).unwrap();
    }

    const BODY: &[u8] = br#"{"pipeline_key": "N", "t0": 999.0, "t1": 1000.0, "topics": {"latency_bins": {"0.001": 5},
        "throughput_out": {"999": 7}}, "report": {"t0": 999.0, "t1": 1000.0, "func": "Sink", "VUID": "N",
        "weir": {"uptime_s": 3, "ledger": {"received": 7}, "gauges": {"depth": 2.5}, "share": {"busy": 0.25, "blocked": 0.5, "idle": 0.25}}}}"#;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = Folder::new("again");
        let mut hub = Hub::new(10, 1_000.0);
        hub.post(1_000.0, BODY).unwrap();
        {
            let store = Store::open(&folder.0).unwrap();
            assert!(Store::open(&folder.0).unwrap_err().to_string().contains("in use by another hub"));
            save(&store, &mut hub);
            assert_eq!(hub.take_new().0[0].rings[0].1, [], "nothing is new any more");
        }
        let mut again = Hub::new(10, 1_000.0);
        Store::open(&folder.0).unwrap().load(&mut again).unwrap();
        for window in hub::Window::ALL {
            assert_eq!(again.series(1_001.0, "N", window, &[]), hub.series(1_001.0, "N", window, &[]));
            assert_eq!(again.node_detail("N", window), hub.node_detail("N", window));
        }
        assert_eq!(again.events_since(0), hub.events_since(0));
    }

    #[test]
    fn a_node_that_is_forgotten_is_forgotten_on_disk() {
        let folder = Folder::new("forgotten");
        let mut hub = Hub::new(10, 1_000.0);
        hub.post(1_000.0, BODY).unwrap();
        let store = Store::open(&folder.0).unwrap();
        save(&store, &mut hub);
        hub.look(90_000.0);
        save(&store, &mut hub);
        let mut again = Hub::new(10, 1_000.0);
        store.load(&mut again).unwrap();
        assert!(again.node_detail("N", hub::Window::Hour).is_none());
        assert_eq!(again.events_since(0).0.last().unwrap().kind, "forgotten");
    }

    #[test]
    fn a_file_that_is_not_a_hubs_is_left_alone() {
        let folder = Folder::new("foreign");
        fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("hub.redb");
        fs::write(&path, "a letter to my aunt\n".repeat(500)).unwrap();
        assert!(Store::open(&folder.0).unwrap_err().to_string().contains("is no history of a hub"));
        assert!(fs::read_to_string(&path).unwrap().starts_with("a letter"));
        fs::remove_file(&path).unwrap();
        {
            let other = Database::create(&path).unwrap();
            let write = other.begin_write().unwrap();
            drop(write.open_table(TableDefinition::<u64, u64>::new("nodes")).unwrap());
            write.commit().unwrap();
        }
        assert!(Store::open(&folder.0).unwrap_err().to_string().contains("of another program"));
    }
}
