using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Local.Containerd;

/// <summary>Finds and removes what containers of an instance leave outside its directory: processes, mounts, cgroups, shim sockets.</summary>
internal static class ContainerdRemains
{
    private const string Namespace = "k8s.io";
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    /// <summary>Asks every container's first process to end and kills the ones that have not after <paramref name="grace"/>.</summary>
    public static async Task StopContainersAsync(string directory, TimeSpan grace)
    {
        var started = TimeProvider.System.GetTimestamp();
        foreach (var id in InitProcesses(directory))
            _ = ContainerdNative.Kill(id, ContainerdNative.SigTerm);
        while (InitProcesses(directory).Any(IsAlive))
        {
            if (TimeProvider.System.GetElapsedTime(started) > grace)
            {
                foreach (var id in InitProcesses(directory))
                    _ = ContainerdNative.Kill(id, ContainerdNative.SigKill);
                return;
            }

            await Task.Delay(s_pause, TimeProvider.System, CancellationToken.None);
        }
    }

    /// <summary>Kills what is left of the instance and takes its mounts, cgroups and sockets away.</summary>
    public static async Task RemoveAsync(string directory)
    {
        // First containerd, which would start again what the others stop; then the containers, then the shims that look after them.
        await KillAsync(() => WithArgument("containerd", ContainerdFiles.Config(directory)));
        var ids = ContainerIds(directory);
        await KillAsync(() => [.. InitProcesses(directory), .. CgroupsOf(ids).SelectMany(ProcessesIn)]);
        await KillAsync(() => WithArgument("containerd-shim", ContainerdFiles.Socket(directory)));
        for (var round = 0; round < 10 && Mounts(directory) is { Count: > 0 } mounts; round++)
        {
            foreach (var path in mounts.OrderByDescending(path => path.Length))
                _ = ContainerdNative.Unmount(path, ContainerdNative.Detach);
        }

        foreach (var cgroup in CgroupsOf(ids).OrderByDescending(path => path.Length))
            _ = ContainerdNative.RemoveDirectory(cgroup);
        foreach (var id in ids)
            File.Delete(ShimSocket(directory, id));

        // The state names tasks that are gone; containerd reads it at the next start.
        if (Directory.Exists(ContainerdFiles.State(directory)))
            Directory.Delete(ContainerdFiles.State(directory), recursive: true);
    }

    /// <summary>Runs a program quietly; returns its exit code.</summary>
    public static async Task<int> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new ContainerdException($"{program} did not start");
        await Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync(), process.WaitForExitAsync());
        return process.ExitCode;
    }

    private static async Task KillAsync(Func<IReadOnlyList<int>> find)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (find().Where(IsAlive).ToList() is { Count: > 0 } processes)
        {
            foreach (var id in processes)
                _ = ContainerdNative.Kill(id, ContainerdNative.SigKill);
            if (TimeProvider.System.GetElapsedTime(started) > TimeSpan.FromSeconds(20))
                throw new ContainerdException($"still running after SIGKILL: {string.Join(", ", processes)}");
            await Task.Delay(s_pause, TimeProvider.System, CancellationToken.None);
        }
    }

    private static List<int> InitProcesses(string directory)
    {
        var tasks = Path.Combine(ContainerdFiles.State(directory), "io.containerd.runtime.v2.task", Namespace);
        var found = new List<int>();
        if (!Directory.Exists(tasks))
            return found;
        foreach (var task in Directory.EnumerateDirectories(tasks))
        {
            if (ReadOrNull(Path.Combine(task, "init.pid")) is { } text
                && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                && BelongsTo(id, Path.GetFileName(task)))
                found.Add(id);
        }

        return found;
    }

    // A process id can have been given to another process since: only one in the container's own cgroup is meant.
    private static bool BelongsTo(int processId, string containerId)
        => ReadOrNull($"/proc/{processId}/cgroup")?.Contains(containerId, StringComparison.Ordinal) == true;

    private static List<string> ContainerIds(string directory)
    {
        var ids = new List<string>();
        foreach (var kind in (string[])["sandboxes", "containers"])
        {
            var folder = Path.Combine(ContainerdFiles.Root(directory), "io.containerd.grpc.v1.cri", kind);
            if (Directory.Exists(folder))
                ids.AddRange(Directory.EnumerateDirectories(folder).Select(path => Path.GetFileName(path)));
        }

        return ids;
    }

    private static List<string> CgroupsOf(List<string> ids)
    {
        if (ids.Count == 0 || !Directory.Exists("/sys/fs/cgroup"))
            return [];
        var wanted = ids.ToHashSet(StringComparer.Ordinal);
        return [.. Directory.EnumerateDirectories("/sys/fs/cgroup", "*", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 8, IgnoreInaccessible = true })
            .Where(path => wanted.Contains(IdOf(Path.GetFileName(path))))];
    }

    // With the systemd driver a container's cgroup is a scope.
    private static string IdOf(string cgroup)
        => cgroup.StartsWith("cri-containerd-", StringComparison.Ordinal) && cgroup.EndsWith(".scope", StringComparison.Ordinal) ? cgroup["cri-containerd-".Length..^".scope".Length] : cgroup;

    private static IEnumerable<int> ProcessesIn(string cgroup)
        => (ReadOrNull(Path.Combine(cgroup, "cgroup.procs")) ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.Parse(line, CultureInfo.InvariantCulture)).Where(id => id > 1 && id != Environment.ProcessId);

    private static List<int> WithArgument(string program, string argument)
    {
        var found = new List<int>();
        foreach (var path in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var id) || id == Environment.ProcessId)
                continue;
            var arguments = (ReadOrNull($"{path}/cmdline") ?? "").Split('\0');
            if (Path.GetFileName(arguments[0]).StartsWith(program, StringComparison.Ordinal) && arguments.Contains(argument))
                found.Add(id);
        }

        return found;
    }

    private static bool IsAlive(int id)
        => ReadOrNull($"/proc/{id}/stat") is { } stat && stat[(stat.LastIndexOf(')') + 2)..][0] is not ('Z' or 'X');

    private static List<string> Mounts(string directory)
        => [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4])
            .Where(path => path.StartsWith(directory + "/", StringComparison.Ordinal))];

    // containerd-shim-runc-v2 listens on a socket named after the digest of containerd's address, the namespace and the group's id.
    private static string ShimSocket(string directory, string id)
        => "/run/containerd/s/" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{ContainerdFiles.Socket(directory)}/{Namespace}/{id}")));

    private static string? ReadOrNull(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // the process or cgroup went meanwhile
        }
    }
}

/// <summary>The system calls that the base library does not offer.</summary>
internal static partial class ContainerdNative
{
    public const int SigTerm = 15;
    public const int SigKill = 9;

    /// <summary>MNT_DETACH: the mount leaves the tree now, its users finish with it in their own time.</summary>
    public const int Detach = 2;

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int processId, int signal);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unmount(string path, int flags);

    [LibraryImport("libc", EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int RemoveDirectory(string path);
}
