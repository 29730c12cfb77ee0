//! What this machine has, and what this process takes of it.

/// Bytes that a plan or a data set may take: this machine's memory, or what its container allows.
pub fn memory_limit() -> u64 {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return u64::MAX; // the allocator will have the last word
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let total = system.total_memory();
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => total.min(limits.total_memory),
        _ => total,
    }
}

/// Bytes of memory that this process occupies now, as far as the system tells. Files that were read
/// do not count.
pub fn resident_set() -> Option<u64> {
    let own = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new();
    let what = sysinfo::ProcessRefreshKind::nothing().with_memory();
    let processes = sysinfo::ProcessesToUpdate::Some(&[own]);
    system.refresh_processes_specifics(processes, false, what);
    Some(system.process(own)?.memory())
}

/// The processor's own name, as far as the system tells it.
pub fn processor() -> String {
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim());
    match brand {
        None | Some("") => format!("{} processor", std::env::consts::ARCH),
        Some(brand) => brand.to_owned(),
    }
}
