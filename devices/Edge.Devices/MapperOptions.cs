using Edge.Common.Configuration;

namespace Edge.Devices;

/// <summary>A mapper's config file, with the keys of KubeEdge's mapper-framework.</summary>
public sealed record MapperOptions
{
    /// <summary>The mapper's own unix socket, which EdgeCore calls (grpc_server.socket_path). At most 107 bytes.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Name of this mapper; unique on the node (common.name).</summary>
    public required string Name { get; init; }

    public string Version { get; init; } = "v1.13.0";

    public string ApiVersion { get; init; } = "v1.0.0";

    /// <summary>The protocol whose devices it gets (common.protocol).</summary>
    public required string Protocol { get; init; }

    /// <summary>EdgeCore's DMI socket (common.edgecore_sock).</summary>
    public string EdgeCoreSocket { get; init; } = "/etc/kubeedge/dmi.sock";

    /// <summary>Where the local API and /metrics answer (common.address). Whoever reaches it may write to devices: leave it on loopback unless the network is
    /// trusted.</summary>
    public string HttpAddress { get; init; } = "127.0.0.1";

    /// <summary>Its port (common.http_port; KubeEdge's samples have 7777); 0 serves none.</summary>
    public int HttpPort { get; init; }

    /// <summary>Seconds between registrations while all is well; each brings the full list of devices. Too long and a change lost by a
    /// peer stays lost that long; too short costs one full list each time.</summary>
    public int RegisterPeriodSeconds { get; init; } = 30;

    /// <summary>Reads the file; every problem is named at once.</summary>
    /// <exception cref="ConfigException">The file is missing or not usable.</exception>
    public static MapperOptions Load(string path, IEnumerable<string> overrides, string protocol)
    {
        var file = ConfigFile.Load(path, overrides);
        var options = Read(file, protocol);
        file.ThrowIfInvalid();
        return options;
    }

    private static MapperOptions Read(ConfigFile file, string protocol)
    {
        var server = file.Root.Section("grpc_server");
        var common = file.Root.Section("common");
        var address = common.Text("address", "127.0.0.1");
        if (!System.Net.IPAddress.TryParse(address, out _))
            common.Problem("address", $"is '{address}', must be an IP address of this machine");
        var socket = server.Text("socket_path", $"/etc/kubeedge/{protocol}.sock");
        if (System.Text.Encoding.UTF8.GetByteCount(socket) > 107)
            server.Problem("socket_path", "is longer than the 107 bytes a unix socket's path may have");
        var spoken = common.Text("protocol", protocol);
        if (!spoken.Equals(protocol, StringComparison.OrdinalIgnoreCase))
            common.Problem("protocol", $"is '{spoken}', this mapper speaks '{protocol}'");
        return new MapperOptions
        {
            SocketPath = socket,
            Name = common.Text("name", $"{protocol}-mapper"),
            Version = common.Text("version", "v1.13.0"),
            ApiVersion = common.Text("api_version", "v1.0.0"),
            Protocol = spoken,
            EdgeCoreSocket = common.Text("edgecore_sock", "/etc/kubeedge/dmi.sock"),
            HttpAddress = address,
            HttpPort = common.Int("http_port", 0, min: 0, max: 65535),
            RegisterPeriodSeconds = common.Int("register_period_seconds", 30, min: 1, max: 3600),
        };
    }
}
