using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Edge.Core.Configuration;

namespace Edge.Core.NodeStatus;

/// <summary>What the machine is and how full it is, read from /proc, /sys and /etc. Sizes are bytes.</summary>
internal sealed record NodeFacts
{
    /// <summary>Kubernetes' word: <c>amd64</c>, <c>arm64</c>, <c>arm</c> …</summary>
    public string Architecture { get; init; } = "";

    public string KernelVersion { get; init; } = "";

    public string OsImage { get; init; } = "";

    public string MachineId { get; init; } = "";

    public string SystemUuid { get; init; } = "";

    public string BootId { get; init; } = "";

    public int Cpus { get; init; }

    public long MemoryBytes { get; init; }

    public long MemoryAvailableBytes { get; init; }

    /// <summary>Size of the file system below the kubelet root.</summary>
    public long DiskBytes { get; init; }

    public long DiskAvailableBytes { get; init; }

    /// <summary>Tells the file system from others.</summary>
    public string DiskDevice { get; init; } = "";

    /// <summary>Inodes of the file system; 0 when it has no fixed number.</summary>
    public long Inodes { get; init; }

    public long InodesFree { get; init; }

    /// <summary>Bytes set aside as huge pages, by the size of a page.</summary>
    public IReadOnlyList<(long PageBytes, long Bytes)> HugePages { get; init; } = [];

    public long Processes { get; init; }

    public long ProcessesMax { get; init; }

    public string InternalIp { get; init; } = "127.0.0.1";

    /// <summary>Reads the machine. A file that is missing or unreadable leaves its fact empty or zero: a node with odd files still registers.</summary>
    public static NodeFacts Read(EdgedOptions options)
    {
        var memory = Lines("/proc/meminfo").Select(line => line.Split(':', 2)).Where(pair => pair.Length == 2).ToDictionary(pair => pair[0], pair => Number(pair[1]) * 1024);
        var load = First("/proc/loadavg").Split(' ');
        var disk = FileSystemFacts.Of(options.RootDirectory);
        var machineId = First("/etc/machine-id");
        var uuid = First("/sys/class/dmi/id/product_uuid").ToLowerInvariant();
        return new NodeFacts
        {
            Architecture = ArchitectureWord(RuntimeInformation.OSArchitecture),
            KernelVersion = First("/proc/sys/kernel/osrelease"),
            OsImage = Lines("/etc/os-release").Where(line => line.StartsWith("PRETTY_NAME=", StringComparison.Ordinal)).Select(line => line["PRETTY_NAME=".Length..].Trim('"')).FirstOrDefault("Linux"),
            MachineId = machineId,
            SystemUuid = uuid.Length > 0 ? uuid : machineId,
            BootId = First("/proc/sys/kernel/random/boot_id"),
            Cpus = Math.Max(1, Lines("/proc/cpuinfo").Count(line => line.StartsWith("processor", StringComparison.Ordinal)) is > 0 and var count ? count : Environment.ProcessorCount),
            MemoryBytes = memory.GetValueOrDefault("MemTotal"),
            MemoryAvailableBytes = memory.GetValueOrDefault("MemAvailable"),
            DiskBytes = disk?.Bytes ?? 0,
            DiskAvailableBytes = disk?.BytesAvailable ?? 0,
            DiskDevice = disk?.Device ?? "",
            Inodes = disk?.Inodes ?? 0,
            InodesFree = disk?.InodesFree ?? 0,
            HugePages = Huge("/sys/kernel/mm/hugepages"),
            Processes = load.Length > 3 && load[3].Split('/') is [_, var total] ? Number(total) : 0,
            ProcessesMax = Math.Min(Number(First("/proc/sys/kernel/pid_max")), Number(First("/proc/sys/kernel/threads-max")) is > 0 and var threads ? threads : long.MaxValue),
            InternalIp = Address(options),
        };
    }

    /// <summary>The interface of the IPv4 default route in the text of /proc/net/route, or null.</summary>
    internal static string? DefaultRouteInterface(IEnumerable<string> lines)
        => lines.Skip(1).Select(line => line.Split('\t', StringSplitOptions.TrimEntries))
            .Where(columns => columns.Length > 7 && columns[1] == "00000000" && columns[7] == "00000000")
            .OrderBy(columns => Number(columns[6]))
            .Select(columns => columns[0]).FirstOrDefault();

    internal static string ArchitectureWord(Architecture architecture) => architecture switch
    {
        System.Runtime.InteropServices.Architecture.X64 => "amd64",
        System.Runtime.InteropServices.Architecture.X86 => "386",
        var other => other.ToString().ToLowerInvariant(),
    };

    private static string Address(EdgedOptions options)
    {
        if (options.NodeIp.Length > 0)
            return options.NodeIp;
        var name = options.CustomInterfaceName.Length > 0 ? options.CustomInterfaceName : DefaultRouteInterface(Lines("/proc/net/route"));
        if (name is null)
            return "127.0.0.1";
        try
        {
            var addresses = NetworkInterface.GetAllNetworkInterfaces().Where(one => one.Name == name)
                .SelectMany(one => one.GetIPProperties().UnicastAddresses).Select(one => one.Address).ToArray();
            var address = addresses.FirstOrDefault(one => one.AddressFamily == AddressFamily.InterNetwork)
                ?? addresses.FirstOrDefault(one => one.AddressFamily == AddressFamily.InterNetworkV6 && !one.IsIPv6LinkLocal);
            return (address ?? IPAddress.Loopback).ToString();
        }
        catch (NetworkInformationException)
        {
            return "127.0.0.1"; // interfaces cannot be listed here; loopback is what the node can promise
        }
    }

    /// <summary>Reads a directory like /sys/kernel/mm/hugepages: one <c>hugepages-&lt;n&gt;kB/nr_hugepages</c> for each size.</summary>
    internal static IReadOnlyList<(long PageBytes, long Bytes)> Huge(string directory)
    {
        if (!Directory.Exists(directory))
            return [];
        var pages = new List<(long, long)>();
        foreach (var folder in Directory.EnumerateDirectories(directory, "hugepages-*kB").Order(StringComparer.Ordinal))
        {
            var size = Number(Path.GetFileName(folder)["hugepages-".Length..]) * 1024;
            if (size > 0)
                pages.Add((size, size * Number(First(Path.Combine(folder, "nr_hugepages")))));
        }

        return pages;
    }

    private static string First(string path) => Lines(path).FirstOrDefault("").Trim();

    private static string[] Lines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // Leading digits of e.g. "  16384 kB".
    private static long Number(string text)
        => long.TryParse(string.Concat(text.Trim().TakeWhile(char.IsAsciiDigit)), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
}
