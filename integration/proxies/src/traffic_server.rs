//! Apache Traffic Server.

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    client::Protocol,
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static TRAFFIC_SERVER: Proxy = Proxy {
    name: "traffic_server",
    program: "traffic_server",
    version: &["-V"],
    config: "runroot.yaml",
    args: &["--run-root={folder}/{config}"],
    scenarios: &[
        Scenario {
            name: "traffic_server",
            description: "Traffic Server, SSE, `transaction_no_activity_timeout_out`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let name = "transaction_no_activity_timeout_out";
                TRAFFIC_SERVER.with(config(server, name, timeout))
            },
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "traffic_server_with_a_limit_on_the_whole_response",
            description: "the same, `transaction_active_timeout_in` (the whole response)",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let name = "transaction_active_timeout_in";
                TRAFFIC_SERVER.with(config(server, name, timeout))
            },
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

fn config(server: SocketAddr, name: &'static str, timeout: Duration) -> Config {
    let timeout = timeout.as_secs();
    // The folder of its files is a setting too.
    Box::new(move |addr, folder| {
        let records = format!(
            "
CONFIG proxy.config.http.server_ports STRING {}:ip-in={}
CONFIG proxy.config.http.{name} INT {timeout}
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.crash_log_helper STRING NULL
",
            addr.port(),
            addr.ip()
        );
        let allow = "ip_allow: [{ apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL }]";
        for (file, text) in [
            ("records.config", &*records),
            ("remap.config", &format!("map / http://{server}/\n")),
            ("ip_allow.yaml", allow),
            ("storage.config", ""),
        ] {
            fs::write(folder.join(file), text).expect("the folder is writable");
        }
        format!(
            "
prefix: {folder}
exec_prefix: {folder}
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: {folder}
datadir: {folder}
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {folder}
runtimedir: {folder}
logdir: {folder}
cachedir: {folder}
",
            folder = folder.display()
        )
    })
}
