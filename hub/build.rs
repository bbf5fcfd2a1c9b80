//! Embeds the page: its own files, and those of the libraries that it uses, which npm brings.

use std::{
    env,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// What the page takes from libraries: the path in the packages, and the path on the hub.
const VENDOR: [(&str, &str); 3] = [
    ("uplot/dist/uPlot.iife.min.js", "vendor/uPlot.iife.min.js"),
    ("uplot/dist/uPlot.min.css", "vendor/uPlot.min.css"),
    ("@dagrejs/dagre/dist/dagre.min.js", "vendor/dagre.min.js"),
];
const TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=page");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo gives OUT_DIR")?);
    let page = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo gives CARGO_MANIFEST_DIR")?).join("page");
    let modules = vendor(&page, &out)?;
    let mut files: Vec<(PathBuf, String)> =
        VENDOR.iter().map(|(from, to)| (modules.join(from), (*to).to_owned())).collect();
    for entry in fs::read_dir(&page)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        if let (Some(name), Some(_)) = (name, content_type(&path)) {
            files.push((path, name));
        }
    }
    files.sort();
    let mut assets = String::from("[\n");
    for (path, name) in files {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let kind = content_type(&path).ok_or("a file of no known type")?;
        let path = path.to_str().ok_or("a path that is not UTF-8")?;
        writeln!(
            assets,
            "Asset {{ path: {:?}, content_type: {kind:?}, etag: \"\\\"{:016x}\\\"\", bytes: include_bytes!({path:?}) }},",
            format!("/{name}"),
            hasher.finish(),
        )?;
    }
    assets.push(']');
    fs::write(out.join("assets.rs"), assets)?;
    Ok(())
}

fn content_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    TYPES.iter().find(|(known, _)| *known == extension).map(|(_, content_type)| *content_type)
}

/// Installs the libraries beside the build's other products, once per lock file.
fn vendor(page: &Path, out: &Path) -> Result<PathBuf, String> {
    let modules = out.join("node_modules");
    let lock = fs::read(page.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    let installed = out.join("installed-lock.json");
    if fs::read(&installed).is_ok_and(|before| before == lock) && modules.is_dir() {
        return Ok(modules);
    }
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(page.join(name), out.join(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    let npm = Command::new("npm").args(["ci", "--omit=dev", "--ignore-scripts"]).current_dir(out).output();
    let npm = npm.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "npm is not installed, and the hub's page needs two libraries from it: apt-get install npm".to_owned()
        }
        _ => format!("npm: {error}"),
    })?;
    if !npm.status.success() {
        return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&npm.stderr)));
    }
    fs::write(&installed, lock).map_err(|error| format!("{}: {error}", installed.display()))?;
    Ok(modules)
}
