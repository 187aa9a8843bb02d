//! Apache in front of a server.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Proxy;

/// Starts Apache with mod_proxy_http2, which gives up a `server` that is silent for `silence`.
pub async fn start(server: SocketAddr, silence: Duration) -> anyhow::Result<Proxy> {
    let silence = silence.as_secs();
    Proxy::start(
        "apache2",
        |command, folder| {
            // One process, in the foreground.
            command
                .arg("-X")
                .arg("-d")
                .arg(folder)
                .args(["-f", "config"]);
        },
        |addr, folder| {
            let modules = ["mpm_event", "authz_core", "http2", "proxy", "proxy_http2"];
            let modules = modules.map(|module| {
                format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
            });
            format!(
                "
{}
ServerName localhost
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog {folder}/error.log
ServerLimit 1
Listen {addr}
Protocols h2c
ProxyPass / h2c://{server}/ timeout={silence}
",
                modules.concat(),
                folder = folder.display(),
            )
        },
    )
    .await
}
