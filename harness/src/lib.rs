//! Runs the tonic example behind real proxies: child processes on loopback, which end with the value
//! that stands for them, on panic too.

pub mod example;
pub mod nginx;
pub mod process;
pub mod server;
