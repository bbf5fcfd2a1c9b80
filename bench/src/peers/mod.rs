//! The brokers that others use, where they are installed: started here, asked by clients that cost next to nothing.
//!
//! Their clients are written by hand for this one purpose: requests are encoded once, answers are only counted. A library
//! would be slower, and the ratio would flatter us.

pub(crate) mod nats;
pub(crate) mod redis;

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::processes::Failed;

/// How long a broker may take until it listens, and a client until it hears something.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a program is, if it is installed. Debian puts servers where not every user looks.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What an installed program says of its version; `None` if it is not installed.
pub(crate) fn version(name: &str) -> Option<String> {
    let output = Command::new(installed(name)?).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next().unwrap_or(name).to_owned())
}

/// A broker that runs until this goes, in memory, on a free port.
pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    /// Starts one; `arguments` gets its port.
    fn start(name: &str, arguments: impl FnOnce(u16) -> Vec<String>) -> Result<Self, Failed> {
        let program = installed(name).ok_or_else(|| Failed::Program(format!("{name} is not installed")))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.args(arguments(address.port())).current_dir(std::env::temp_dir());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut broker = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if broker.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(Failed::Program(format!("{name} does not listen on {address}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(broker)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to a broker.
struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    /// Reused from line to line.
    line: Vec<u8>,
}

impl Connection {
    fn open(broker: SocketAddr) -> io::Result<Self> {
        let writer = TcpStream::connect(broker)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(256 << 10, writer.try_clone()?), writer, line: Vec::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.line.trim_ascii_end())
    }

    /// Reads so many bytes and the line's end behind them.
    fn text(&mut self, len: usize, text: &mut Vec<u8>) -> io::Result<()> {
        text.resize(len + 2, 0);
        self.reader.read_exact(text)?;
        text.truncate(len);
        Ok(())
    }

    /// Takes what has been answered, unread.
    fn drain(&mut self, place: &mut [u8]) -> io::Result<()> {
        match rustix::net::recv(&self.writer, place, rustix::net::RecvFlags::DONTWAIT) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The whole number that ends a line: `$128`, `MSG b 1 128`.
fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
