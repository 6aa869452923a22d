using Edge.Local.Containerd;
using Edge.Local.Processes;

namespace Edge.Local;

/// <summary>One EdgeCore of a local Edge.</summary>
public sealed class LocalNode
{
    internal LocalNode(string directory, string name)
    {
        Name = name;
        DataDirectory = Path.Combine(directory, name);
        DmiDirectory = Path.Combine(DataDirectory, "dmi");
        ConfigPath = Path.Combine(directory, $"{name}.yaml");
    }

    public string Name { get; }

    /// <summary>edgecore's <c>--data-dir</c>.</summary>
    public string DataDirectory { get; }

    /// <summary>The directory of the DMI sockets: edgecore's <c>dmi.sock</c> and those of the mappers.</summary>
    public string DmiDirectory { get; }

    public string DmiSocket => Path.Combine(DmiDirectory, "dmi.sock");

    public string ConfigPath { get; }

    /// <summary>Where its resolver listens on 127.0.0.1, UDP and TCP; 0 without <see cref="LocalEdgeOptions.Dns"/>, and until it listens.</summary>
    public int DnsPort { get; internal set; }

    /// <summary>The containerd that runs its pods, or null when it runs none.</summary>
    public ContainerdInstance? Containerd { get; internal set; }

    /// <summary>Its edgecore; another object after a restart.</summary>
    public ChildProcess? Process { get; internal set; }
}
