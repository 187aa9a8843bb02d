//! Apache with mod_proxy_http2.

use crate::{
    client::Protocol,
    proxy::Proxy,
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static APACHE: Proxy = Proxy {
    name: "apache2",
    program: "apache2",
    version: &["-v"],
    config: "apache2.conf",
    // `-X` runs one process in the foreground.
    args: &["-X", "-d", ".", "-f", "{config}"],
    scenarios: &[Scenario {
        name: "apache",
        description: "Apache mod_proxy_http2, `timeout=`",
        protocol: Protocol::Grpc,
        timeout: TIMEOUT,
        start: |server, timeout| {
            let timeout = timeout.as_secs();
            let modules = ["mpm_event", "authz_core", "http2", "proxy", "proxy_http2"];
            let modules = modules.map(|module| {
                format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
            });
            APACHE.with(Box::new(move |addr, folder| {
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
ProxyPass / h2c://{server}/ timeout={timeout}
",
                    modules.concat(),
                    folder = folder.display(),
                )
            }))
        },
        expected: Expected::DATA_COUNTS,
    }],
};
