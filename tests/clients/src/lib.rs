//! Which keepalive which client accepts: each reads streams of events with and without keepalives, and what
//! it makes of them is compared. docs/clients.md has the table.

pub mod client;
mod crates;
pub mod keepalives;
mod session;
pub mod stream;
pub mod table;
pub mod verdict;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
mod page {}
