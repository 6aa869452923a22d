using Edge.Local.Processes;
using Xunit;

namespace Edge.Testing;

/// <summary>Skips a <c>[SkippableFact]</c> where the machine lacks something, and names it.</summary>
public static class Requires
{
    public static void Root() => Skip.IfNot(Environment.IsPrivilegedProcess, "root");

    /// <summary>Root, containerd, runc and the CNI plugins: what pods take.</summary>
    public static void Containerd()
    {
        Root();
        OnPath("containerd", "containerd");
        OnPath("runc", "runc");
        Skip.IfNot(File.Exists("/usr/lib/cni/bridge") || File.Exists("/opt/cni/bin/bridge"), "the CNI plugins (Debian: containernetworking-plugins)");
    }

    /// <summary>The self-contained build of the mapper, for its container image.</summary>
    public static void MapperImage()
        => Skip.If(Executables.FindSelfContained("modbus-mapper") is null, "artifacts/publish/modbus-mapper (made by test.sh and up.sh)");

    public static void Chromium() => OnPath("chromium", "chromium");

    public static void Kubectl() => OnPath("kubectl", "kubernetes-client");

    public static void Dig() => OnPath("dig", "bind9-dnsutils");

    public static void Kdig() => OnPath("kdig", "knot-dnsutils");

    /// <summary>Root, iproute2, curl and python3: what network namespaces with clients and servers take.</summary>
    public static void NetworkNamespaces()
    {
        Root();
        OnPath("ip", "iproute2");
        OnPath("curl", "curl");
        OnPath("python3", "python3");
    }

    public static void MmdbLookup() => OnPath("mmdblookup", "mmdb-bin");

    public static void Mbpoll() => OnPath("mbpoll", "mbpoll");

    public static void LibModbus() => Skip.IfNot(Modbus.LibModbus.Exists, "libmodbus.so.5 (Debian: libmodbus5)");

    public static void Quic() => Skip.IfNot(Edge.Transport.QuicSupport.IsAvailable, "libmsquic (packages.microsoft.com; Debian itself has none)");

    private static void OnPath(string program, string package) => Skip.If(Tool.OnPath(program) is null, $"{program} (Debian: {package})");
}
