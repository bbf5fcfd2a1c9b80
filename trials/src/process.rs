//! What the kernel tells of a process: its memory, its UDP sockets, its group.

use std::fs;

/// One UDP socket of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpSocketRow {
    /// Its own port.
    pub port: u16,
    /// The port of the one peer that it hears; 0 when it hears anybody.
    pub peer_port: u16,
    /// Bytes that wait to be read, counted with the kernel's overhead.
    pub waiting_bytes: u64,
    /// Datagrams dropped for want of room.
    pub drops: u64,
}

/// The UDP sockets of a process.
pub fn udp_sockets(process: u32) -> Vec<UdpSocketRow> {
    let inodes = socket_inodes(process);
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(parse);
    rows.filter(|(inode, _)| inodes.contains(inode)).map(|(_, row)| row).collect()
}

fn socket_inodes(process: u32) -> Vec<u64> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// A line of the kernel's table: its inode, and the rest.
fn parse(line: &str) -> Option<(u64, UdpSocketRow)> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let port = |column: usize| u16::try_from(hex(columns.get(column)?.rsplit_once(':')?.1)?).ok();
    let row = UdpSocketRow {
        port: port(1)?,
        peer_port: port(2)?,
        waiting_bytes: hex(columns.get(4)?.rsplit_once(':')?.1)?,
        drops: columns.last()?.parse().ok()?,
    };
    Some((columns.get(9)?.parse().ok()?, row))
}

/// The most memory that a process has had at once, in bytes.
pub fn memory_peak_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    peak.parse::<u64>().unwrap() * 1_024
}

/// The command lines of the processes of a group that have not ended.
pub fn group_members(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|process| group_of(*process) == Some(group)).map(command_line).collect()
}

/// `None` when the process has ended.
fn group_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything; state, parent and group follow it.
    let mut columns = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    let state = columns.next()?;
    columns.nth(1)?.parse().ok().filter(|_| state != "Z")
}

fn command_line(process: u32) -> String {
    let line = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split('\0').collect::<Vec<_>>().join(" ")
}
