using System.Diagnostics;
using System.Globalization;
using Edge.Core.Configuration;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.Cgroups;

/// <summary>Makes, limits and removes the cgroups of pods and of the QoS classes above them. What cannot be written is said once, and pods run without it.
/// May be used by several threads.</summary>
/// <param name="root">Where cgroups are mounted; a test's own directory otherwise.</param>
internal sealed class PodCgroups(EdgedOptions options, ILogger log, string root = PodCgroups.Mount)
{
    private const string Mount = "/sys/fs/cgroup";

    // Where systemd keeps what 'set-property --runtime' was given (systemctl(1)).
    private const string SliceProperties = "/run/systemd/system.control";
    private static readonly TimeSpan s_systemctlLimit = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, long> _burstable = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _slices = new(StringComparer.Ordinal);
    private readonly HashSet<string> _said = new(StringComparer.Ordinal);

    /// <summary>Whether this machine has cgroup v2 alone.</summary>
    public bool IsV2 { get; } = File.Exists(Path.Combine(root, "cgroup.controllers"));

    /// <summary>Whether a limit of swap can be written for the containers of a pod whose sandbox runs: with some kernels there is no such file, and a runtime that is told to write it fails.</summary>
    public bool HasSwapLimit(PodDescription pod) => IsV2 && File.Exists($"{root}{CriConfigs.CgroupPath(CriConfigs.CgroupParent(options, pod))}/memory.swap.max");

    /// <summary>How many processes of the pod the kernel has killed for memory; null where its cgroup is not there, or is of version 1, which counts for each cgroup alone.</summary>
    public long? OomKills(PodDescription pod)
    {
        const string Key = "oom_kill ";
        var file = $"{root}{CriConfigs.CgroupPath(CriConfigs.CgroupParent(options, pod))}/memory.events";
        try
        {
            return IsV2 && File.Exists(file) && Array.Find(File.ReadAllLines(file), line => line.StartsWith(Key, StringComparison.Ordinal)) is { } line
                && long.TryParse(line.AsSpan(Key.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // it went while it was read
        }
    }

    private bool IsSystemd => options.CgroupDriver == "systemd";

    /// <summary>Makes the pod's cgroup with its limits; what is there already gets them anew.</summary>
    public void Apply(PodDescription pod)
    {
        var limits = PodLimits.Of(pod, options.PodPidsLimit);
        var parent = CriConfigs.CgroupParent(options, pod);
        if (IsSystemd && !HasSystemd())
            return;
        lock (_gate)
        {
            if (pod.QosClass == "Burstable")
                _burstable[pod.Uid] = limits.CpuShares;
            ApplyClass(pod.QosClass);
            if (IsSystemd)
                Systemctl(["set-property", "--runtime", parent, .. CgroupFiles.Slice(limits, IsV2)]);
            else
                Write(parent, limits);
        }
    }

    /// <summary>Counts a pod that ran before this EdgeCore started for its class; its own cgroup is left as it is.</summary>
    public void Adopt(PodDescription pod)
    {
        if (pod.QosClass != "Burstable")
            return;
        lock (_gate)
            _burstable[pod.Uid] = PodLimits.Of(pod, options.PodPidsLimit).CpuShares;
    }

    /// <summary>Removes the pod's empty cgroup.</summary>
    /// <returns>False when it is still in use, and stays.</returns>
    public bool Remove(PodDescription pod)
    {
        if (!IsSystemd)
            return Remove(pod.Uid);
        if (!HasSystemd())
            return true;
        lock (_gate)
        {
            RemoveSlice(CriConfigs.CgroupParent(options, pod));
            if (_burstable.Remove(pod.Uid))
                ApplyClass("Burstable");
        }

        return true;
    }

    /// <summary>As <see cref="Remove(PodDescription)"/> for a pod of which only the uid is known, and so not its class.</summary>
    public bool Remove(string uid)
    {
        lock (_gate)
        {
            if (!Directory.Exists(root))
                return true;
            if (IsSystemd)
            {
                // systemd keeps the properties of a slice, also of one that is stopped, in a directory of its name.
                foreach (var slice in ((string[])["", "-burstable", "-besteffort"]).Select(qos => CriConfigs.Slice(qos, uid)).Where(slice => Directory.Exists($"{SliceProperties}/{slice}.d")))
                {
                    RemoveSlice(slice);
                    if (slice.StartsWith("kubepods-burstable-", StringComparison.Ordinal))
                        ApplyClass("Burstable");
                }

                return true;
            }

            var (gone, wasBurstable) = (true, _burstable.Remove(uid));
            foreach (var hierarchy in IsV2 ? [root] : Directory.GetDirectories(root).Append(root))
            {
                foreach (var path in (string[])[$"{hierarchy}/kubepods/pod{uid}", $"{hierarchy}/kubepods/burstable/pod{uid}", $"{hierarchy}/kubepods/besteffort/pod{uid}"])
                {
                    if (!Directory.Exists(path))
                        continue;
                    Native.RemoveDirectory(path);
                    wasBurstable |= path.Contains("/burstable/", StringComparison.Ordinal);
                    gone &= !Directory.Exists(path);
                }
            }

            // Also for one that only an EdgeCore before this one knew: its part is still in the class's weight.
            if (wasBurstable)
                ApplyClass("Burstable");
            return gone;
        }
    }

    // Pods that ask for nothing get what the others leave; those that ask for some weigh together what they ask for.
    private void ApplyClass(string qosClass)
    {
        if (qosClass == "Guaranteed")
            return;
        var limits = new PodLimits(qosClass == "Burstable" ? Math.Clamp(_burstable.Values.Sum(), 2, 262_144) : 2, 0, 0, 0);
        if (!IsSystemd)
        {
            Write("/kubepods/" + qosClass.ToLowerInvariant(), limits);
        }
        else if (!_slices.TryGetValue(qosClass, out var shares) || shares != limits.CpuShares)
        {
            // A process each time: only where it changes something.
            _slices[qosClass] = limits.CpuShares;
            Systemctl(["set-property", "--runtime", $"kubepods-{qosClass.ToLowerInvariant()}.slice", .. CgroupFiles.Slice(limits, IsV2)]);
        }
    }

    // Its processes are gone; what it was given would otherwise stay until the next boot.
    private void RemoveSlice(string slice)
    {
        Systemctl(["stop", slice]);
        Systemctl(["revert", slice]);
    }

    private void Write(string path, PodLimits limits)
    {
        IReadOnlyList<CgroupWrite> writes;
        try
        {
            writes = IsV2
                ? CgroupFiles.V2(root, path, limits, File.ReadAllText(Path.Combine(root, "cgroup.controllers")).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).ToHashSet(StringComparer.Ordinal))
                : CgroupFiles.V1(root, path, limits);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Say(root, e.Message);
            return;
        }

        foreach (var write in writes)
        {
            var file = Path.Combine(write.Directory, write.File);
            try
            {
                // A directory beside the hierarchies would be an ordinary one, and limit nothing.
                if (!IsV2 && write.Directory[root.Length..].Split('/')[1] is var controller && !Directory.Exists(Path.Combine(root, controller)))
                {
                    Say(controller, "this machine does not have the controller");
                    continue;
                }

                Directory.CreateDirectory(write.Directory);
                if (write.Optional && !File.Exists(file))
                    continue;
                File.WriteAllText(file, write.Value);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Say(write.File, e.Message);
            }
        }
    }

    private bool HasSystemd()
    {
        if (Directory.Exists("/run/systemd/system"))
            return true;
        Say("systemd", "cgroupDriver is systemd, and systemd does not run here; set modules.edged.tailoredKubeletConfig.cgroupDriver to what the container runtime uses");
        return false;
    }

    private void Systemctl(string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("systemctl", arguments) { RedirectStandardError = true, RedirectStandardOutput = true })
                ?? throw new IOException("systemctl did not start");
            if (!process.WaitForExit(s_systemctlLimit))
            {
                process.Kill();
                Say("systemctl " + arguments[0], $"no answer within {s_systemctlLimit.TotalSeconds} s");
            }
            else if (process.ExitCode != 0)
            {
                Say("systemctl " + arguments[0], process.StandardError.ReadToEnd().Trim());
            }
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException)
        {
            Say("systemctl", e.Message);
        }
    }

    // Once for each kind of limit: the next pods meet the same.
    private void Say(string what, string reason)
    {
        lock (_said)
        {
            if (!_said.Add(what))
                return;
        }

        EdgedLog.CgroupNotWritten(log, what, reason);
    }
}
