//! The configuration: read, judged, printed.

use std::path::Path;

use vipward::config::{Loaded, Style, parse};

/// Whatever the text, an answer with places; and what is sound, printed and
/// read back, is the same.
pub fn config_text(data: &[u8]) {
    // The file reader has refused the rest.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new("fuzz.yaml");
    match parse(path, text, "host") {
        Ok(loaded) => {
            assert!(!loaded.settings.instances.is_empty());
            for warning in &loaded.warnings {
                assert!(!warning.to_string().is_empty());
            }
            let effective = printed(&loaded);
            let again = parse(path, &effective, "other")
                .unwrap_or_else(|faults| panic!("{faults}\n{effective}"));
            assert_eq!(again.settings, loaded.settings);
            assert_eq!(again.host, loaded.host);
            assert_eq!(again.work, loaded.work);
            assert_eq!(printed(&again), effective);
            assert_eq!(again.digest, loaded.digest);
        }
        Err(faults) => {
            assert!(faults.count() > 0);
            for fault in faults.iter() {
                assert!(
                    fault.render(Style::Plain).contains("fuzz.yaml"),
                    "{fault:?}"
                );
                assert!(fault.to_string().starts_with("fuzz.yaml"), "{fault:?}");
            }
        }
    }
}

fn printed(loaded: &Loaded) -> String {
    let printed = loaded.effective();
    printed.unwrap_or_else(|faults| panic!("{faults}"))
}
