//! An uplink of a stated speed: a relay on the loopback interface that lets bytes through to the
//! cloud host no faster than that. What comes back is not held up.
//!
//! The relay keeps the time at which the link is free again. A packet occupies it for
//! `bytes / rate` from then on and is handed over at the end of that, like on a wire.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The system wakes a sleeper this much late; the rest of a wait is spent watching the clock.
const SLACK: Duration = Duration::from_micros(150);

/// A link to a host, open until dropped.
pub(crate) struct Link {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Link {
    /// A link to `host` that carries `bytes_per_s` upwards.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub(crate) fn to(host: SocketAddr, bytes_per_s: f64) -> io::Result<Link> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let accepting = thread::Builder::new().name("uplink".into()).spawn(move || {
            for board in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that fails ends, and the client on it sees that.
                let _ = board.and_then(|board| connect(board, host, bytes_per_s));
            }
        })?;
        Ok(Link { address, stop, accepting: Some(accepting) })
    }

    /// Where boards reach the host through this link.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread. Connections end with their clients.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// Joins `board` with a new connection to `host`, a thread for each direction.
fn connect(board: TcpStream, host: SocketAddr, bytes_per_s: f64) -> io::Result<()> {
    let host = TcpStream::connect(host)?;
    board.set_nodelay(true)?;
    host.set_nodelay(true)?;
    let (mut from_host, mut to_board) = (host.try_clone()?, board.try_clone()?);
    thread::Builder::new().name("downlink".into()).spawn(move || {
        let _ = io::copy(&mut from_host, &mut to_board);
        let _ = to_board.shutdown(Shutdown::Both);
    })?;
    thread::Builder::new().name("uplink".into()).spawn(move || {
        let _ = carry(&board, &host, bytes_per_s);
        let _ = host.shutdown(Shutdown::Write);
    })?;
    Ok(())
}

fn carry(mut board: impl Read, mut host: impl Write, bytes_per_s: f64) -> io::Result<()> {
    // A tenth of a millisecond a packet, within the sizes of Ethernet's and of a large segment.
    let mut packet = vec![0; ((bytes_per_s * 1e-4) as usize).clamp(1500, 64 << 10)];
    let mut free_at = Instant::now();
    loop {
        let bytes = board.read(&mut packet)?;
        if bytes == 0 {
            return Ok(());
        }
        let occupied = Duration::from_secs_f64(bytes as f64 / bytes_per_s);
        free_at = free_at.max(Instant::now()) + occupied;
        wait_until(free_at);
        host.write_all(&packet[..bytes])?;
    }
}

fn wait_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if left > SLACK {
        thread::sleep(left - SLACK);
    }
    while Instant::now() < time {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_every_byte_and_no_faster_than_it_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        let link = Link::to(host, 1e6).unwrap();
        let mut board = TcpStream::connect(link.address).unwrap();
        let sent: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        let start = Instant::now();
        board.write_all(&sent).unwrap();
        board.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        board.read_to_end(&mut received).unwrap();
        // Slower is the machine's affair, faster would be the link's.
        assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
        assert!(received == sent);
        echo.join().unwrap();
    }
}
