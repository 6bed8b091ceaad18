//! Datagrams of the peer link: captured as they leave a host, and made by
//! hand, sound or not.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{LinkAddr, MsgFlags, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::cluster::LINK_PORT;
use super::frame::{Mac, ones_complement_sum};
use super::{Host, Lab, port};

/// Ethernet and IPv4 header, without options.
const UDP_AT: usize = 14 + 20;
/// Where the peer link's own bytes begin.
pub const PAYLOAD_AT: usize = UDP_AT + 8;

/// Keeps what leaves one host's eth0 for the peer link's port, and what comes
/// to it.
pub struct Tap {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    pub fn tap(&self, host: &Host) -> Tap {
        let links = self
            .segment
            .ip_json(&format!("link show dev {}", port(host, "eth0")));
        let index = links[0]["ifindex"].as_u64().expect("an index");
        let index = usize::try_from(index).expect("a small index");
        let socket = self.segment.run(open);
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (of_thread, told) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = thread::spawn(move || listen(&socket, index, &of_thread, &told));
        Tap {
            frames,
            stop,
            thread: Some(thread),
        }
    }
}

impl Tap {
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let frames = self.frames.lock();
        frames.expect("no tap panics").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> Socket {
    let everything = i32::from(u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(everything)))
        .expect("a packet socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a time-out");
    socket
}

fn listen(socket: &Socket, index: usize, frames: &Mutex<Vec<Vec<u8>>>, stop: &AtomicBool) {
    let mut bytes = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let Ok(message) = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut buffers, None, flags) else {
            continue; // the time-out
        };
        let length = message.bytes;
        let by_port = message.address.is_some_and(|at| at.ifindex() == index);
        let frame = bytes.get(..length).unwrap_or_default();
        if by_port
            && frame.get(12..14) == Some(&[0x08, 0x00])
            && frame.get(23) == Some(&17)
            && frame.get(UDP_AT + 2..UDP_AT + 4) == Some(&LINK_PORT.to_be_bytes())
        {
            frames.lock().expect("no tap panics").push(frame.to_vec());
        }
    }
}

/// The frame as `by` sends it on.
pub fn replayed(frame: &[u8], by: &Host) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    // UDP's checksum was left to a network card that is none; IPv4 allows
    // that there is none.
    bytes[PAYLOAD_AT - 2..PAYLOAD_AT].fill(0);
    bytes[6..12].copy_from_slice(&by.mac("eth0").0);
    bytes
}

/// A datagram from `source` to `target`'s port, whatever it says.
pub fn datagram(by: &Host, source: Ipv4Addr, target: (Mac, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| {
        let length = u16::try_from(header + payload.len()).expect("a short datagram");
        length.to_be_bytes()
    };
    let mut header = vec![0x45, 0xc0];
    header.extend(length(28));
    header.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend(source.octets());
    header.extend(target.1.octets());
    let sum = !ones_complement_sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [target.0.0, by.mac("eth0").0].concat();
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    frame.extend(LINK_PORT.to_be_bytes());
    frame.extend(LINK_PORT.to_be_bytes());
    frame.extend(length(8));
    // No checksum of UDP's: IPv4 allows that.
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}
