// One thread for each element, GROUP to a work-group: the shader says what `element` does with its index.
// More work-groups than a dimension holds are folded into a second one.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    element((group.y * groups.x + group.x) * GROUP + local);
}

