use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

/// Runs cargo on a crate that uses the library, for what only a build can show.
///
/// `manifest` is what follows the dependency on the library, whose features come first. `files` are in `src`.
pub fn cargo(args: &[&str], name: &str, manifest: &str, files: &[(&str, &str)]) -> Output {
    let library = env!("CARGO_MANIFEST_DIR");
    let target = env!("CARGO_TARGET_TMPDIR");
    let folder = Path::new(target).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        r#"
[package]
name = "{name}"
edition = "2024"

[workspace]

[dependencies]
stream-keepalive = {{ path = {library:?}, {manifest}
"#
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    for (file, code) in files {
        fs::write(folder.join("src").join(file), code).unwrap();
    }
    // Uses the versions in this workspace's Cargo.lock, because they have been downloaded.
    fs::copy(
        Path::new(library).join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .unwrap();
    Command::new(env!("CARGO"))
        .args(args)
        .args(["--offline", "--quiet", "--color=never", "--target-dir"])
        .arg(target)
        .current_dir(&folder)
        .output()
        .unwrap()
}
