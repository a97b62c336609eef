//! TUN devices: network interfaces whose packets a program reads and writes.
//!
//! Making one takes one call to the kernel that no safe library here offers.

#![allow(unsafe_code)]

use std::{fs::File, io, path::Path};

use rustix::{
    ioctl::{Opcode, Updater, ioctl, opcode},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// What `TUNSETIFF` takes, `struct ifreq` of `linux/if.h`: a name, flags, and what other requests use.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// `TUNSETIFF` of `linux/if_tun.h`.
const MAKE: Opcode = opcode::write::<i32>(b'T', 202);

/// `IFF_TUN` and `IFF_NO_PI`: whole IP packets and nothing else.
const PACKETS: u16 = 0x0001 | 0x1000;

/// Moves this thread into a network namespace, for good.
///
/// # Errors
/// When there is no such namespace, or the thread may not.
pub(super) fn enter(namespace: &str) -> io::Result<()> {
    let file = File::open(Path::new("/run/netns").join(namespace))?;
    Ok(move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))?)
}

/// Makes a TUN device in the namespace that this thread is in. Reads and writes are a packet each, and reads do not wait. The
/// device is gone when the file is closed.
///
/// # Errors
/// When the system has no TUN devices, or the thread may not make one.
pub(super) fn open(name: &str) -> io::Result<File> {
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: PACKETS, rest: [0; 22] };
    let named = request.name.iter_mut().zip(name.bytes()).take(15);
    named.for_each(|(place, byte)| *place = byte);
    // SAFETY: `Request` has the size and layout of `struct ifreq`, which is what the kernel reads and writes for `TUNSETIFF`, and
    // it outlives the call.
    unsafe { ioctl(&file, Updater::<MAKE, Request>::new(&mut request)) }?;
    Ok(file)
}
