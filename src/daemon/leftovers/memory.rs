//! The memory that the agent shares with its guardian. Two slots and a header
//! that names the whole one: the agent writes the other slot, then the
//! header, so that a death at any moment leaves one whole picture.
//!
//! ```text
//! 0        header: what is valid, how long, its sum
//! 4 KiB    the numbers of the last signed advertisement, written with each
//! 8 KiB    keys, each in a cell of its own that is written once
//! 1 MiB    slot 0
//! 9 MiB    slot 1
//! ```
//!
//! Pages that were never written take no memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use zeroize::Zeroizing;

use super::BYTES_MAX;
pub use crate::agent::numbers::Numbers;
use crate::agent::seal::Sequence;

const MAGIC: u64 = u64::from_be_bytes(*b"vipward1");
const HEADER_BYTES: usize = 40;
const NUMBERS_AT: u64 = 4096;
const NUMBERS_BYTES: usize = 16;
const KEYS_AT: u64 = 8192;
/// A length, and the longest key.
const KEY_CELL_BYTES: usize = 72;
const FIRST_SLOT_AT: u64 = 1 << 20;
const SLOT_BYTES: u64 = BYTES_MAX as u64;

/// The agent's end.
#[derive(Debug)]
pub struct Memory {
    file: File,
    generation: u64,
}

struct Header {
    /// Counts the pictures; its last bit names the slot.
    generation: u64,
    length: u64,
    sum: u64,
}

impl Memory {
    /// Memory that says that nothing is left. Closed on exec. This process
    /// holds a record lock on it, for [`wait_until_released`].
    pub fn create() -> io::Result<Self> {
        let file = File::from(memfd_create("vipward", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(FIRST_SLOT_AT + 2 * SLOT_BYTES)?;
        let mut memory = Self {
            file,
            generation: 0,
        };
        memory.publish(&super::Leftovers::nothing())?;
        fcntl(&memory.file, FcntlArg::F_SETLK(&whole_file()?))?;
        Ok(memory)
    }

    /// A second handle, for a guardian.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Replaces the picture. After an error the one before is still there.
    pub fn publish(&mut self, bytes: &[u8]) -> io::Result<()> {
        let header = self.write_slot(bytes)?;
        self.write_header(&header)?;
        self.generation = header.generation;
        Ok(())
    }

    /// After an error the numbers before are still there.
    pub fn set_numbers(&self, numbers: Numbers) -> io::Result<()> {
        let words = [numbers.monotonic, numbers.time].map(|number| number.bits().to_le_bytes());
        // Within a page, and so written whole or not at all.
        self.file.write_all_at(words.as_flattened(), NUMBERS_AT)
    }

    /// Writes a key where none was written before.
    ///
    /// # Errors
    ///
    /// It is too long, or there are too many: 14,000.
    pub fn set_key(&self, slot: u32, key: &[u8]) -> io::Result<()> {
        let at = key_at(slot).ok_or(io::ErrorKind::StorageFull)?;
        let length = u8::try_from(key.len()).map_err(io::Error::other)?;
        if key.len() >= KEY_CELL_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(key, at + 1)?;
        self.file.write_all_at(&[length], at)
    }

    fn write_slot(&self, bytes: &[u8]) -> io::Result<Header> {
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        if length > SLOT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let header = Header {
            generation: self.generation.wrapping_add(1),
            length,
            sum: sum(bytes),
        };
        self.file.write_all_at(bytes, header.slot_at())?;
        Ok(header)
    }

    fn write_header(&self, header: &Header) -> io::Result<()> {
        // Within a page, and so written whole or not at all.
        let written = self.file.write_at(&header.bytes(), 0)?;
        if written == HEADER_BYTES {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Returns when the process that made the memory is dying, with no thread left
/// that could do anything, or when it has closed any of its handles.
///
/// The kernel gives record locks back before it closes a dead process's
/// descriptors, of which packet sockets alone take it some 10 ms each; only
/// then does it call the process dead. No child inherits such a lock.
pub fn wait_until_released(memory: &File) -> io::Result<()> {
    let wanted = whole_file()?;
    loop {
        match fcntl(memory, FcntlArg::F_SETLKW(&wanted)) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // Not ours to keep: another guardian may be waiting.
    let mut free = wanted;
    free.l_type = short(libc::F_UNLCK)?;
    fcntl(memory, FcntlArg::F_SETLK(&free))?;
    Ok(())
}

fn whole_file() -> io::Result<libc::flock> {
    Ok(libc::flock {
        l_type: short(libc::F_WRLCK)?,
        l_whence: short(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    })
}

fn short(number: libc::c_int) -> io::Result<libc::c_short> {
    libc::c_short::try_from(number).map_err(io::Error::other)
}

fn key_at(slot: u32) -> Option<u64> {
    let cell = u64::try_from(KEY_CELL_BYTES).ok()?;
    let at = KEYS_AT + u64::from(slot) * cell;
    (at + cell <= FIRST_SLOT_AT).then_some(at)
}

/// The numbers of the last signed advertisement; `None`: there was none.
pub fn numbers(memory: &File) -> Option<Numbers> {
    let mut bytes = [0; NUMBERS_BYTES];
    memory.read_exact_at(&mut bytes, NUMBERS_AT).ok()?;
    let mut words = bytes.as_chunks::<8>().0.iter().copied();
    let mut word = || {
        words
            .next()
            .map(u64::from_le_bytes)
            .map(Sequence::from_bits)
    };
    let numbers = Numbers {
        monotonic: word()?,
        time: word()?,
    };
    (bytes != [0; NUMBERS_BYTES]).then_some(numbers)
}

/// # Errors
///
/// Why there is none, for people.
pub fn key(memory: &File, slot: u32) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut cell = Zeroizing::new([0; KEY_CELL_BYTES]);
    let at = key_at(slot).ok_or("its key is nowhere")?;
    memory
        .read_exact_at(cell.as_mut_slice(), at)
        .map_err(|error| format!("its key cannot be read: {error}"))?;
    let (length, key) = cell.split_first().ok_or("its key is nowhere")?;
    let key = key
        .get(..usize::from(*length))
        .ok_or("its key is damaged")?;
    Ok(Zeroizing::new(key.to_vec()))
}

/// The picture that was published last. To be called when nobody writes.
///
/// # Errors
///
/// Why there is none, for people.
pub fn read(memory: &File) -> Result<Vec<u8>, String> {
    let mut head = [0; HEADER_BYTES];
    memory
        .read_exact_at(&mut head, 0)
        .map_err(|error| format!("its header cannot be read: {error}"))?;
    let header = Header::read(&head).ok_or("its header makes no sense")?;
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    if length > BYTES_MAX {
        return Err(format!("its header claims {length} bytes"));
    }
    let mut bytes = vec![0; length];
    memory
        .read_exact_at(&mut bytes, header.slot_at())
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if sum(&bytes) == header.sum {
        Ok(bytes)
    } else {
        Err("it is not whole".to_owned())
    }
}

impl Header {
    fn slot_at(&self) -> u64 {
        FIRST_SLOT_AT + (self.generation & 1) * SLOT_BYTES
    }

    fn words(&self) -> [u64; 4] {
        [MAGIC, self.generation, self.length, self.sum]
    }

    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let words = self.words();
        let own = words.iter().flat_map(|word| word.to_le_bytes());
        let own_sum = sum(&own.clone().collect::<Vec<u8>>());
        for (slot, byte) in bytes.iter_mut().zip(own.chain(own_sum.to_le_bytes())) {
            *slot = byte;
        }
        bytes
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut words = bytes.as_chunks::<8>().0.iter().copied();
        let mut word = || words.next().map(u64::from_le_bytes);
        let magic = word()?;
        let header = Self {
            generation: word()?,
            length: word()?,
            sum: word()?,
        };
        (magic == MAGIC && header.bytes() == *bytes).then_some(header)
    }
}

/// Tells a picture from a half-written one; eight bytes at a time, since it
/// is made on the thread that sends advertisements.
fn sum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    let whole = words
        .iter()
        .fold(FACTOR, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter()
        .fold(whole, |sum, byte| mix(sum, u64::from(*byte) + 1))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn seen(memory: &Memory) -> Result<Vec<u8>, String> {
        read(&File::from(memory.handle().unwrap()))
    }

    #[test]
    fn the_last_picture_is_read_and_at_first_nothing_is_left() {
        let mut memory = Memory::create().unwrap();
        assert_eq!(seen(&memory), Ok(super::super::Leftovers::nothing()));
        for length in [0, 1, 7, 8, 9, 5_000, 100, BYTES_MAX] {
            let bytes = vec![u8::try_from(length % 251).unwrap(); length];
            memory.publish(&bytes).unwrap();
            assert!(seen(&memory) == Ok(bytes), "{length}");
        }
        assert!(memory.publish(&vec![0; BYTES_MAX + 1]).is_err());
        assert_eq!(seen(&memory).unwrap().len(), BYTES_MAX);
    }

    #[test]
    fn keys_and_numbers_are_beside_the_picture() {
        let mut memory = Memory::create().unwrap();
        let reader = File::from(memory.handle().unwrap());
        assert_eq!(numbers(&reader), None);
        let given = Numbers {
            monotonic: Sequence::from_bits(7),
            time: Sequence::from_bits(u64::MAX),
        };
        memory.set_numbers(given).unwrap();
        memory.set_key(0, &[1; 32]).unwrap();
        memory.set_key(1, &[2; 64]).unwrap();
        memory.publish(b"a picture").unwrap();
        assert_eq!(numbers(&reader), Some(given));
        assert_eq!(*key(&reader, 0).unwrap(), vec![1; 32]);
        assert_eq!(*key(&reader, 1).unwrap(), vec![2; 64]);
        assert!(key(&reader, 2).unwrap().is_empty());
        assert!(memory.set_key(14_449, &[3; 32]).is_err());
        assert!(memory.set_key(14_448, &[3; 64]).is_ok());
        assert!(key(&reader, 14_449).is_err());
        assert_eq!(seen(&memory).unwrap(), b"a picture");
    }

    fn head(file: &File) -> Header {
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0).unwrap();
        Header::read(&head).unwrap()
    }

    /// Dead between the slot and the header, or within the slot.
    #[test]
    fn a_half_written_slot_is_not_the_picture() {
        let mut memory = Memory::create().unwrap();
        memory.publish(b"the whole one").unwrap();
        let next = memory.write_slot(b"the next one").unwrap();
        assert_eq!(seen(&memory).unwrap(), b"the whole one");
        memory.file.write_all_at(b"torn", next.slot_at()).unwrap();
        assert_eq!(seen(&memory).unwrap(), b"the whole one");
        // A header that names it all the same is not believed.
        memory.write_header(&next).unwrap();
        assert_eq!(seen(&memory).unwrap_err(), "it is not whole");
    }

    #[test]
    fn no_torn_header_is_believed() {
        let mut memory = Memory::create().unwrap();
        memory.publish(b"a picture").unwrap();
        let mut head = [0; HEADER_BYTES];
        memory.file.read_exact_at(&mut head, 0).unwrap();
        for at in 0..HEADER_BYTES {
            for bit in 0..8 {
                let mut torn = head;
                torn[at] ^= 1 << bit;
                memory.file.write_all_at(&torn, 0).unwrap();
                assert!(seen(&memory).is_err(), "byte {at}, bit {bit}");
            }
        }
        memory.file.set_len(20).unwrap();
        assert!(seen(&memory).is_err());
    }

    /// A writer in a process of its own is killed again and again: each time
    /// one of its pictures is there, whole.
    #[test]
    fn a_killed_writer_leaves_a_whole_picture() {
        const TOLD: &str = "VIPWARD_TEST_MEMORY";
        if let Ok(path) = std::env::var(TOLD) {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let generation = head(&file).generation;
            let mut memory = Memory { file, generation };
            for round in 0_u8.. {
                let round = round % 200 + 1;
                memory
                    .publish(&vec![round; 1_000 * usize::from(round)])
                    .unwrap();
            }
        }
        let memory = Memory::create().unwrap();
        let pid = std::process::id();
        let path = format!("/proc/{pid}/fd/{}", memory.file.as_raw_fd());
        let mut different = std::collections::BTreeSet::new();
        for round in 0..20 {
            let before = head(&memory.file).generation;
            let mut writer = Command::new(std::env::current_exe().unwrap())
                .arg("--exact")
                .arg("daemon::leftovers::memory::tests::a_killed_writer_leaves_a_whole_picture")
                .env(TOLD, &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let begun = std::time::Instant::now();
            while head(&memory.file).generation == before {
                assert!(begun.elapsed() < Duration::from_secs(30));
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(round * 731));
            writer.kill().unwrap();
            writer.wait().unwrap();
            let bytes = seen(&memory).unwrap();
            let first = bytes[0];
            assert_eq!(bytes.len(), 1_000 * usize::from(first));
            assert!(bytes.iter().all(|byte| *byte == first));
            different.insert(first);
        }
        assert!(different.len() > 5, "the writer hardly ran: {different:?}");
    }
}
