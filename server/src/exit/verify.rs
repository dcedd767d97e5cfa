//! `hanse verify`: is all well with a store, a server or a dump?

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hanse_cache::Hub;
use hanse_cache::dump::from_line;
use hanse_client::{Request, Transport};
use hanse_json::{Value, json};
use hanse_seams::Seams;
use hanse_store_redb::RedbStore;
use hanse_tenancy::verify::verify as between;

use super::{connect, read};
use crate::assemble;
use crate::flags::{EncryptionFlags, VerifyFlags};
use crate::storage::{self, Storage};

/// Looks at a store, a server or a dump; an error when anything is broken.
pub async fn verify(flags: &VerifyFlags, seams: &Seams) -> Result<()> {
    if let Some(path) = &flags.dump {
        let checked = read(path, async |line| {
            let value: Value = serde_json::from_slice(line)?;
            if value.get("sealed").is_none() {
                from_line(line)?;
            }
            Ok(())
        });
        let reader = checked.await.with_context(|| path.display().to_string())?;
        println!(
            "{} objects as of version {}: whole",
            reader.objects,
            reader.version()?
        );
        return Ok(());
    }
    let report = match &flags.root_directory {
        Some(root) => {
            let encryption = EncryptionFlags::of(flags.encryption_provider_config.as_ref());
            verify_store(root, &encryption, seams).await?
        }
        None => {
            let server = connect(&flags.server, seams)?;
            serde_json::from_slice(&server.send(Request::get("/services/verify")).await?)?
        }
    };
    let findings = report["findings"]
        .as_array()
        .context("no findings in the answer")?;
    for finding in findings {
        println!("{}", finding.as_str().unwrap_or_default());
    }
    let (keys, records) = (&report["keys"], &report["records"]);
    println!(
        "{keys} keys, {records} records, {} findings",
        findings.len()
    );
    ensure!(findings.is_empty(), "the store is broken");
    Ok(())
}

async fn verify_store(root: &Path, encryption: &EncryptionFlags, seams: &Seams) -> Result<Value> {
    let data = root.join("data");
    ensure!(
        data.join("hanse.redb").exists(),
        "{} holds no store",
        data.display()
    );
    let config = hanse_store_redb::Config::new(&data);
    let mut findings = Vec::new();
    if !RedbStore::check_pages(&config)? {
        findings.push("pages of the file are not as they were written".to_owned());
    }
    let Storage { store, engine, .. } = storage::open(&config, encryption, seams).await?;
    let mut verified = match Hub::open(store.clone(), assemble::memory()).await {
        Ok(hub) => {
            let mut verified = hub.verify().await?;
            verified.findings.extend(between(&hub));
            verified
        }
        Err(error) => {
            // Objects that cannot be read: the engine alone still names all of them.
            findings.push(error.to_string());
            store.verify().await?
        }
    };
    engine.close().await;
    findings.append(&mut verified.findings);
    Ok(json!({"keys": verified.keys, "records": verified.records, "findings": findings}))
}
