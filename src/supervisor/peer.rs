//! Who is at the other end of a unix socket: `SO_PEERCRED` and `SO_PEERPIDFD` of unix(7).
//!
//! connect(2) is made by sbox, so that the kernel takes sbox for the one who has connected. Who it was is written where the
//! kernel keeps it as long as it can be asked for, also when the one who has connected is gone: into the name of
//! its socket. For guests it still has none; no guest can make such a name. A socket that has got a name of its guest
//! is remembered by that.
//!
//! A name can't be taken back, so it is given after the connection was made. Who listens there may be quicker and ask before.
//! So what is under way is announced, and whoever asks first writes the names that are missing.
//!
//! All other processes that the kernel names are guests, which have called listen(2) or socketpair(2) themselves, or
//! don't exist for guests.

use super::act::{Done, Hands};
use crate::sys::{self, Errno};
use crate::syscall::plan::PeerAs;
use crate::task::{Group, Names, Registry};
use crate::vfs::Vfs;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clients with names of their own that are remembered.
const MAX_NAMED: usize = 4096;

/// Who has connected for whom.
pub(super) struct Peers {
    tasks: Arc<Registry>,
    book: Mutex<Book>,
    count: AtomicU64,
}

#[derive(Default)]
struct Book {
    under_way: Vec<Call>,
    /// The last who has connected from a socket of this name. A guest that uses a name again while connections of another
    /// are still asked about confuses guests, not us.
    named: HashMap<Vec<u8>, Client>,
}

/// A guest that connects, as it was then: the kernel, too, keeps the number of one that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    tgid: i32,
    /// As guests are told of it.
    number: i32,
    birth: u64,
}

/// A connect(2) that may be done already.
struct Call {
    id: u64,
    socket: Arc<OwnedFd>,
    address: Vec<u8>,
    client: Client,
}

/// Takes the call out of the book when dropped. Then the caller's copy of the socket is the last one of ours.
pub(super) struct Announced {
    peers: Arc<Peers>,
    id: u64,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut book = self.peers.book();
        book.under_way.retain(|call| call.id != self.id);
    }
}

impl Announced {
    /// The connection was made.
    pub(super) fn is_made(&self) {
        self.peers.write_names(&mut self.peers.book());
    }
}

impl Peers {
    pub(super) fn new(tasks: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self {
            tasks,
            book: Mutex::default(),
            count: AtomicU64::new(0),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before the connection can be made.
    pub(super) fn announce(
        self: &Arc<Self>,
        vfs: &Vfs,
        socket: &Arc<OwnedFd>,
        group: &Group,
    ) -> Announced {
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let client = Client {
            tgid: group.tgid,
            number: group.number,
            birth: group.birth,
        };
        self.book().under_way.push(Call {
            id,
            socket: Arc::clone(socket),
            address: client.address(vfs.nameless_prefix(), id),
            client,
        });
        Announced {
            peers: Arc::clone(self),
            id,
        }
    }

    /// Who has made the connection that has come out of accept(2) as `socket`.
    fn client(&self, vfs: &Vfs, socket: BorrowedFd<'_>) -> sys::Result<Option<Client>> {
        let mut book = self.book();
        self.write_names(&mut book);
        let name = name(socket, true)?;
        Ok(Client::parse(vfs.nameless_prefix(), &name).or_else(|| book.named.get(&name).copied()))
    }

    /// Names whoever has connected. An error leaves a client without a name, which is then nobody for guests: the connection
    /// is made, and no call is left that could fail.
    fn write_names(&self, book: &mut Book) {
        for call in &book.under_way {
            if let Ok(Some((name, client))) = self.write_name(call) {
                if book.named.len() >= MAX_NAMED {
                    book.named.clear();
                }
                book.named.insert(name, client);
            }
        }
    }

    /// Names one; the name that it has already, if a guest has given it one.
    fn write_name(&self, call: &Call) -> sys::Result<Option<(Vec<u8>, Client)>> {
        let socket = call.socket.as_fd();
        // ENOTCONN: it still waits, and may come to nothing. Then the guest may want to give it a name.
        name(socket, true)?;
        // Who listens outside asks the kernel, and sees no more names than without us.
        if !self
            .tasks
            .has_been(sys::socket::peer_credentials(socket)?.pid)
        {
            return Ok(None);
        }
        if name(socket, false)?.len() <= 2 {
            match sys::socket::bind(socket, &call.address) {
                // The guest was quicker.
                Err(Errno::EINVAL) => {}
                done => return done.map(|()| None),
            }
        }
        let own = name(socket, false)?;
        Ok((own != call.address).then_some((own, call.client)))
    }

    /// A pidfd of a client, if that is still what its number means.
    fn pidfd(&self, client: Client) -> sys::Result<OwnedFd> {
        let pidfd = sys::pidfd::open(client.tgid)?;
        // In this order: if a guest has the number now, then whoever had it before is dead, and no danger comes of its pidfd.
        let is_it = match self.tasks.birth(client.tgid) {
            Some(birth) => birth == client.birth,
            None => self.tasks.is_member(client.tgid), // it has ended and waits for its parent
        };
        // DIFFERS: Linux 6.16 has a pidfd also for who is gone for good.
        if is_it { Ok(pidfd) } else { Err(Errno::ESRCH) }
    }
}

impl Client {
    /// The address of a socket that it connects from.
    fn address(self, prefix: &[u8], id: u64) -> Vec<u8> {
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{:x} {:x} {:x} {id:x}",
            self.tgid, self.birth, self.number
        );
        [&family[..], &[0], prefix, text.as_bytes()].concat()
    }

    fn parse(prefix: &[u8], address: &[u8]) -> Option<Self> {
        let text = address.get(3..)?.strip_prefix(prefix)?;
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        Some(Self {
            tgid: i32::from_str_radix(words.next()?, 16).ok()?,
            birth: u64::from_str_radix(words.next()?, 16).ok()?,
            number: i32::from_str_radix(words.next()?, 16).ok()?,
        })
    }
}

/// getsockname(2), getpeername(2).
fn name(socket: BorrowedFd<'_>, peer: bool) -> sys::Result<Vec<u8>> {
    let mut room = [0u8; 128];
    let len = sys::socket::name(socket, peer, &mut room)?;
    Ok(room.get(..len).ok_or(Errno::EINVAL)?.to_vec())
}

impl Hands<'_> {
    /// getsockopt(2): the kernel's answer, with the process that guests know.
    pub(super) fn tell_peer(
        &self,
        socket: &OwnedFd,
        by: PeerAs,
        value: u64,
        room: usize,
        length: u64,
    ) -> sys::Result<Done> {
        let socket = socket.as_fd();
        let credentials = sys::socket::peer_credentials(socket)?;
        let ours = credentials.pid == std::process::id() as i32;
        match by {
            PeerAs::Credentials => {
                let pid = if ours {
                    self.client_of(socket).map_or(0, |client| client.number)
                } else {
                    let tasks = &self.peers.tasks;
                    tasks.told(tasks.as_told(credentials.pid), Names::Process)
                };
                let ids = [credentials.uid, credentials.gid].map(u32::to_ne_bytes);
                let told = [&pid.to_ne_bytes()[..], ids.as_flattened()].concat();
                let told = told.get(..room).unwrap_or(&told);
                self.mem.write(value, told)?;
                self.mem.write(length, &(told.len() as u32).to_ne_bytes())?;
                Ok(Done::Reply(crate::mechanism::notify::Reply::Return(0)))
            }
            PeerAs::Pidfd => {
                // Also where it is ours: ENOPROTOOPT and ENODATA are the kernel's to say.
                let kernels = sys::socket::peer_pidfd(socket)?;
                let fd = if ours {
                    drop(kernels);
                    let client = self.client_of(socket).ok_or(Errno::ESRCH)?;
                    self.peers.pidfd(client)?
                } else {
                    // Another listen(2) may have come in between.
                    let told = self.peers.tasks.as_told(credentials.pid);
                    if told == 0
                        || sys::pidfd::pid_of(kernels.as_fd())?.is_some_and(|pid| pid != told)
                    {
                        return Err(Errno::ESRCH);
                    }
                    kernels
                };
                Ok(Done::TellFd {
                    fd,
                    value,
                    room: room.min(4),
                    length,
                })
            }
        }
    }

    /// Nobody where the kernel doesn't say whose socket it is, as of one that sbox has made for its own ends.
    fn client_of(&self, socket: BorrowedFd<'_>) -> Option<Client> {
        self.peers.client(self.vfs, socket).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_read_off_the_name_that_was_written_for_it() {
        let client = Client {
            tgid: 4_194_303,
            number: 4_194_303,
            birth: u64::MAX,
        };
        let address = client.address(b"sbox 0123456789abcdef ", u64::MAX);
        assert!(address.len() <= 110, "{} bytes", address.len());
        let parse = |address: &[u8]| Client::parse(b"sbox 0123456789abcdef ", address);
        assert_eq!(parse(&address), Some(client));
        for other in [
            &b""[..],
            &[1, 0],
            b"\x01\0\0sbox-7/name",
            b"\x01\0\0sbox 1123456789abcdef 1 1 1",
            b"\x01\0\0sbox 0123456789abcdef 1",
        ] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
