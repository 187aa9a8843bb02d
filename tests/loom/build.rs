//! Sets `cfg(loom)` for this package alone, so that its dependencies stay as they are.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
