//! Finds out which client accepts which keepalive. Each client reads streams of events with and without
//! keepalives, and the results are compared. Clients with a timeout read them once more, with a timeout that is shorter
//! than the stream is silent. docs/clients.md has the tables.

pub mod client;
pub mod clock;
mod crates;
pub mod keepalives;
mod session;
pub mod stream;
pub mod table;
pub mod verdict;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
mod page {}
