//! Squid, in front of a server.

use crate::{
    client::Protocol,
    proxy::Proxy,
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static SQUID: Proxy = Proxy {
    name: "squid",
    program: "squid",
    version: &["-v"],
    config: "squid.conf",
    // One process in the foreground, with errors on stderr.
    args: &["-N", "-d", "1", "-f", "{config}"],
    scenarios: &[Scenario {
        name: "squid",
        description: "Squid, SSE, `read_timeout`",
        protocol: Protocol::Sse,
        timeout: TIMEOUT,
        start: |server, timeout| {
            let timeout = timeout.as_secs();
            let (ip, port) = (server.ip(), server.port());
            SQUID.with(Box::new(move |addr, _| {
                format!(
                    "
visible_hostname localhost
http_port {addr} accel defaultsite=localhost no-vhost
cache_peer {ip} parent {port} 0 originserver no-query no-digest
http_access allow all
cache deny all
cache_mem 0
memory_cache_shared off
pinger_enable off
netdb_filename none
pid_filename none
access_log none
cache_log /dev/null
read_timeout {timeout} seconds
"
                )
            }))
        },
        expected: Expected::DATA_COUNTS,
    }],
};
