//! The arrows between the crates, as ARCHITECTURE.md draws them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

const LIBRARIES: [&str; 8] = ["protocol", "machine", "link", "metrics", "functions", "runtime", "simnet", "wal"];
const PROGRAMS: [&str; 8] = ["mq", "worker", "feeder", "sink", "metrics-receiver", "hub", "udp-client", "spike"];

/// What each library may depend on within the workspace.
fn allowed(library: &str) -> &'static [&'static str] {
    match library {
        "functions" => &["protocol"],
        "link" => &["protocol", "machine", "wal"],
        "metrics" | "runtime" => &["protocol", "machine"],
        "simnet" => &["machine", "wal"],
        _ => &[],
    }
}

/// For each crate of the workspace, the crates of the workspace that it needs in order to run.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let metadata =
        cargo_metadata::MetadataCommand::new().no_deps().other_options(vec!["--offline".into()]).exec().unwrap();
    let members: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let needs = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|needed| needed.kind == cargo_metadata::DependencyKind::Normal);
        normal.map(|needed| needed.name.clone()).filter(|name| members.contains(name)).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), needs(package))).collect()
}

#[test]
fn libraries_know_only_what_they_may() {
    let arrows = arrows();
    for library in LIBRARIES {
        let unknown: Vec<_> =
            arrows[library].iter().filter(|name| !allowed(library).contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{library} must not depend on {unknown:?}");
    }
}

#[test]
fn no_program_depends_on_another() {
    let arrows = arrows();
    for program in PROGRAMS {
        let others: Vec<_> = arrows[program].iter().filter(|name| !LIBRARIES.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{program} must not depend on {others:?}");
    }
}

#[test]
fn a_machine_does_not_use_the_runtime() {
    for program in PROGRAMS {
        let library = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program).join("src/lib.rs");
        let text = std::fs::read_to_string(&library).unwrap();
        assert!(!text.contains("runtime::"), "{} speaks of the runtime", library.display());
    }
}

#[test]
fn no_program_plants_faults() {
    for program in PROGRAMS {
        let main = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program).join("src/main.rs");
        let text = std::fs::read_to_string(&main).unwrap();
        let plants = ["plant(", "with_fault("].into_iter().find(|call| text.contains(call));
        assert_eq!(plants, None, "{}", main.display());
    }
}
