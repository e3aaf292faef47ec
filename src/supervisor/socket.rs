//! Deeds on sockets: names, and whom they reach.

use super::act::{Done, Hands, Sleeper};
use super::change;
use crate::mechanism::notify::Reply;
use crate::sys::{self, Errno};
use crate::syscall::net;
use crate::syscall::plan::Address;
use crate::vfs::Place;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl Hands<'_> {
    /// connect(2).
    pub(super) fn connect(&self, socket: OwnedFd, to: &Address<'_>) -> sys::Result<Done> {
        let (address, held) = match to {
            Address::Bytes(bytes) => (bytes.to_vec(), None),
            Address::Place(place) => {
                let (address, held) = self.reach(place)?;
                (address, Some(held))
            }
        };
        self.named_for_credentials(&socket)?;
        if sys::socket::is_unix_datagram(socket.as_fd()) {
            // Nobody has to agree, so nobody waits.
            sys::socket::connect(socket.as_fd(), &address)?;
            return Ok(Done::Reply(Reply::Return(0)));
        }
        let socket = Arc::new(socket);
        let announced = (sys::socket::family(socket.as_fd())? == libc::AF_UNIX)
            .then(|| self.peers.announce(self.vfs, &socket, &self.task.group));
        // Also where O_NONBLOCK is set: another thread of the guest can clear it after any look.
        Ok(Done::Sleeps(Sleeper::Connect {
            announced,
            socket,
            address,
            _held: held,
        }))
    }

    fn bind_address(&self, socket: &OwnedFd, address: &[u8], asked: &[u8]) -> sys::Result<()> {
        sys::socket::bind(socket.as_fd(), address)?;
        if let (Some(text), [0, ..]) = (address.get(2..), asked) {
            self.vfs.name_is_bound(text.to_vec(), asked.to_vec());
        }
        Ok(())
    }

    /// An abstract name that no guest has, in the form that the kernel chooses: five hexadecimal digits.
    pub(super) fn autobind(&self, socket: &OwnedFd) -> sys::Result<()> {
        if sys::socket::family(socket.as_fd())? != libc::AF_UNIX {
            return Err(Errno::EINVAL);
        }
        let start = RandomState::new().build_hasher().finish();
        for i in 0..1 << 20 {
            // As the kernel: a socket that has a name keeps it.
            if sys::socket::name(socket.as_fd(), false, &mut [0u8; 2])? > 2 {
                return Ok(());
            }
            let name = format!("{:05x}", start.wrapping_add(i) & 0xf_ffff);
            let address = net::abstract_bytes(self.vfs, name.as_bytes());
            let asked = format!("\0{name}");
            match self.bind_address(socket, &address, asked.as_bytes()) {
                Err(Errno::EADDRINUSE) => {}
                done => return done,
            }
        }
        Err(Errno::ENOSPC)
    }

    /// unix(7), `SO_PASSCRED`: who asks for credentials gets a name when it sends or connects. The kernel's would lack
    /// the prefix, and nobody here could answer.
    pub(super) fn named_for_credentials(&self, socket: &OwnedFd) -> sys::Result<()> {
        let fd = socket.as_fd();
        let asks = sys::socket::family(fd)? == libc::AF_UNIX
            && sys::socket::option(fd, libc::SO_PASSCRED)? != 0;
        if asks { self.autobind(socket) } else { Ok(()) }
    }

    /// The address of exactly the inode that a place holds, and what keeps it so.
    pub(super) fn reach(&self, place: &Place<'_>) -> sys::Result<(Vec<u8>, OwnedFd)> {
        let handle = self.vfs.handle(place)?;
        // Who listens there is of the host: the changes of a copy-on-write mount stay in it.
        // DIFFERS: overlayfs lets one connect.
        change::not_a_lowers(self.vfs, handle.as_fd()).map_err(|_| Errno::ECONNREFUSED)?;
        let path = self.vfs.fd_path(handle.as_fd())?;
        Ok((unix_address(path.as_bytes())?, handle))
    }

    /// bind(2).
    pub(super) fn bind(
        &mut self,
        socket: &OwnedFd,
        to: &Address<'_>,
        asked: &[u8],
    ) -> sys::Result<()> {
        let place = match to {
            Address::Bytes(bytes) => {
                return self.bind_address(socket, bytes, asked);
            }
            Address::Place(place) => place,
        };
        let Place::Name { dir, name, .. } = place else {
            return Err(Errno::EADDRINUSE);
        };
        self.take_umask();
        // Relative to the held directory: this thread has a working directory of its own.
        let bound = dir.make_with(name, |here, name| {
            nix::unistd::fchdir(here)?;
            // What the kernel will call the socket, for getsockname(2): each asked path its own text.
            let text = self.vfs.name_bound(name.to_bytes(), asked, 108);
            sys::socket::bind(socket.as_fd(), &unix_address(&text)?)
        });
        nix::unistd::fchdir(self.vfs.parking())?;
        bound.map_err(|errno| match errno {
            Errno::EEXIST => Errno::EADDRINUSE,
            other => other,
        })
    }
}

/// `struct sockaddr_un` with a path. ENAMETOOLONG where it doesn't fit.
fn unix_address(path: &[u8]) -> sys::Result<Vec<u8>> {
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    match path.len() {
        0..108 => Ok([&family[..], path, &[0]].concat()),
        // The kernel adds the NUL (unix(7), "BUGS").
        108 => Ok([&family[..], path].concat()),
        _ => Err(Errno::ENAMETOOLONG),
    }
}
