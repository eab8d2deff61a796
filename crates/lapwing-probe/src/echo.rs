//! The asking half of echo: what was sent, what came back, and what that says about each direction of the line.
//!
//! It stands once, for the probe kinds `udp-echo` and `tcp-echo` and for `lapwing echo send`: in this crate because it
//! reads the bytes of `lapwing-wire`, which `lapwing-core` does not see, and because it asks, while `lapwing-link`
//! answers. Invariant: pure bookkeeping but for [`bounce`]; the times are arguments, and a run of any length keeps a
//! bounded memory.

mod book;
mod count;
mod delay;
mod times;

pub use book::{Arrival, Book, Mismatch, Totals};
pub use count::Directions;
pub use delay::{Baseline, Change, Way};
pub use times::{Jitter, Times};

use lapwing_core::{observation::Fault, time::Mono};
use lapwing_net::{Moment, fault_of};
use lapwing_wire::echo::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest UDP payload over IPv4 (RFC 768, RFC 791).
pub const DATAGRAM_MAX: usize = 65_507;
/// Longest message over TCP.
pub const MESSAGE_MAX: usize = 1 << 20;

/// Fills a message of any length for an echo over TCP: a marked request where it fits, else bytes that differ from
/// message to message.
pub fn fill(message: &mut [u8], cookie: u64, seq: u64, sent: Mono) {
    let request = Request {
        cookie,
        seq: seq as u32,
        sent: sent.0,
    };
    if request.write(message).is_err() {
        let mark = cookie.wrapping_add(seq).to_be_bytes();
        for (byte, mark) in message.iter_mut().zip(mark.iter().cycle()) {
            *byte = *mark;
        }
    }
}

/// Sends `message` and reads it back, through `buffer` of the same length. Bounded by the caller's deadline.
pub async fn bounce(stream: &mut TcpStream, message: &[u8], buffer: &mut [u8]) -> Result<(), Fault> {
    let (mut reader, mut writer) = stream.split();
    // Both at once: a server may send back before it has read all.
    let write = async {
        let written = writer.write_all(message).await;
        written.map_err(|e| fault_of(&e, Moment::Later))
    };
    let read = async {
        let mut filled = 0;
        while filled < message.len() {
            let read = reader.read(&mut buffer[filled..]).await;
            let read = read.map_err(|e| fault_of(&e, Moment::Later))?;
            if read == 0 {
                let text = "connection closed before all came back";
                return Err(Fault::target("connect.closed", text));
            }
            if buffer[filled..filled + read] != message[filled..filled + read] {
                return Err(Mismatch::Changed.fault());
            }
            filled += read;
        }
        Ok(())
    };
    tokio::try_join!(write, read).map(drop)
}
