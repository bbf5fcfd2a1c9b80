//! `mq log`: what an operator sees of a log that no queue has open. Nothing is changed.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use link::RecordText;
use runtime::Failure;
use serde::Serialize;
use serde_json::json;
use wal::{Directory, Entry, Hole, OpenError, Verified};

/// What to look at.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Look {
    /// Check every block of a log, and tell what it holds; exit code 1 if it is damaged
    Verify(VerifyArgs),
    /// Tell every record of a log, oldest first; exit code 1 if it is damaged
    Dump(DumpArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The directory given to --data
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Tell it as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// The directory given to --data
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Begin with the record that brings this message
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: u64,
    /// End after so many records
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Tell each record as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and tells on stdout.
pub(crate) fn look(look: &Look) -> Result<(), Failure> {
    match look {
        Look::Verify(args) => verify(args),
        Look::Dump(args) => dump(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let mut disk = open(&args.path)?;
    let verified = wal::verify(&mut disk, &mut |_| Ok(())).map_err(|error| failure(&args.path, &error))?;
    let text = if args.json { as_json(&verified) } else { as_text(&verified) };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => verdict(&args.path, &verified),
    }
}

fn dump(args: &DumpArgs) -> Result<(), Failure> {
    let mut disk = open(&args.path)?;
    let mut teller = Teller::new(args, BufWriter::new(io::stdout().lock()));
    let verified = wal::verify(&mut disk, &mut |entry| teller.take(&entry));
    let (mut out, end) = (teller.out, teller.end);
    let (written, is_whole) = match end {
        Some(End::Unwritten(error)) => (Err(error), false),
        Some(End::Enough) => (out.flush(), false),
        None => (out.flush(), true),
    };
    match written {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(unwritten(&error)),
        Ok(()) if is_whole => verdict(&args.path, &verified.map_err(|error| failure(&args.path, &error))?),
        Ok(()) => Ok(()),
    }
}

/// Why a dump ends before the log does.
#[derive(Debug)]
enum End {
    /// As many records are told as were asked for.
    Enough,
    Unwritten(io::Error),
}

/// Tells records.
struct Teller<'a, Out> {
    args: &'a DumpArgs,
    out: Out,
    left: u64,
    has_begun: bool,
    end: Option<End>,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    place: Option<PlaceInLog>,
    #[serde(flatten)]
    told: &'a RecordText,
}

/// Where and when a record was written.
#[derive(Serialize)]
struct PlaceInLog {
    offset: u64,
    messages: u32,
    time: String,
    position: u64,
}

impl<'a, Out: Write> Teller<'a, Out> {
    fn new(args: &'a DumpArgs, out: Out) -> Self {
        Self { args, out, left: args.count, has_begun: args.from == 0, end: None }
    }

    /// Tells an entry; an error ends the dump, and `end` says why.
    fn take(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let from = self.args.from;
        let (place, told) = match *entry {
            Entry::Snapshot(bytes) => {
                (None, RecordText { kind: "snapshot", fields: vec![("bytes", (bytes.len() as u64).into())] })
            }
            Entry::Lost { first, next } => {
                self.has_begun |= next > from;
                (None, RecordText { kind: "set_aside", fields: vec![("first", first.into()), ("next", next.into())] })
            }
            Entry::Record { position, offset, messages, at_us, bytes } => {
                self.has_begun |= offset >= from || offset + u64::from(messages) > from;
                let told = link::describe(bytes).map_err(|error| format!("at offset {offset}: {error}"))?;
                (Some(PlaceInLog { offset, messages, time: time(at_us), position }), told)
            }
        };
        if !self.has_begun {
            return Ok(());
        }
        let written = self.tell(place, &told);
        self.left -= 1;
        self.end = match written {
            Err(error) => Some(End::Unwritten(error)),
            Ok(()) if self.left == 0 => Some(End::Enough),
            Ok(()) => return Ok(()),
        };
        Err("no more is wanted".to_owned())
    }

    fn tell(&mut self, place: Option<PlaceInLog>, told: &RecordText) -> io::Result<()> {
        if self.args.json {
            serde_json::to_writer(&mut self.out, &Line { place, told })?;
            return self.out.write_all(b"\n");
        }
        match place {
            Some(PlaceInLog { offset, messages, time, .. }) => {
                writeln!(self.out, "{offset}\t{messages}\t{time}\t{told}")
            }
            None => writeln!(self.out, "-\t-\t-\t{told}"),
        }
    }
}

fn open(path: &Path) -> Result<Directory, Failure> {
    Directory::look_at(path).map_err(|error| Failure::new(error.to_string()))
}

fn failure(path: &Path, error: &OpenError) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write: {error}"))
}

/// A damaged log is a failure.
fn verdict(path: &Path, verified: &Verified) -> Result<(), Failure> {
    let Some(first) = verified.damage.first() else { return Ok(()) };
    let path = path.display();
    let places = verified.damage.len();
    Err(Failure::new(format!("{path}: the log is damaged, {places} places; the first: {first}")))
}

/// A time of the log, which counts microseconds since 1970.
fn time(us: u64) -> String {
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + Duration::from_micros(us)).to_string()
}

fn as_text(verified: &Verified) -> String {
    let Verified { node, boots, segments, blocks, records, messages, begin, end, kept_from, next_offset, .. } =
        verified;
    let (oldest, newest) = (time(verified.oldest_us), time(verified.newest_us));
    let mut lines = vec![
        format!("queue     {node:016x}, started {boots} times"),
        format!("log       {} bytes (positions {begin} to {end}), {segments} segments, {blocks} blocks", end - begin),
        format!("records   {records}, with {messages} messages; offsets from {kept_from}, the next is {next_offset}"),
        format!("written   {oldest} to {newest}"),
    ];
    if verified.tail_bytes > 0 {
        lines.push(format!("tail      {} bytes that a crash left; the next start cuts them off", verified.tail_bytes));
    }
    for Hole { position, until, first, next } in &verified.holes {
        lines.push(format!("set aside {} bytes at position {position}, offsets {first} to {next}", until - position));
    }
    lines.extend(verified.damage.iter().map(|damage| format!("DAMAGED   {damage}")));
    if verified.damage.is_empty() {
        lines.push("All blocks check.".to_owned());
    }
    lines.join("\n") + "\n"
}

fn as_json(verified: &Verified) -> String {
    let set_aside = verified.holes.iter().map(|Hole { position, until, first, next }| {
        json!({ "position": position, "until": until, "first_offset": first, "next_offset": next })
    });
    let damage = verified.damage.iter().map(|damage| {
        json!({
            "file": damage.file, "place": damage.place, "flaw": damage.flaw.to_string(),
            "position": damage.position, "until": damage.until,
            "first_offset": damage.first_offset, "next_offset": damage.next_offset,
        })
    });
    let told = json!({
        "node": format!("{:016x}", verified.node), "boots": verified.boots,
        "segments": verified.segments, "blocks": verified.blocks,
        "records": verified.records, "messages": verified.messages,
        "begin": verified.begin, "end": verified.end,
        "kept_from": verified.kept_from, "next_offset": verified.next_offset,
        "oldest": time(verified.oldest_us), "newest": time(verified.newest_us),
        "tail_bytes": verified.tail_bytes,
        "set_aside": set_aside.collect::<Vec<_>>(), "damage": damage.collect::<Vec<_>>(),
    });
    format!("{told}\n")
}
