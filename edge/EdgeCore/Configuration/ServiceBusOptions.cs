using System.Net;
using Edge.Common.Configuration;

namespace Edge.Core.Configuration;

/// <summary>Section <c>modules.serviceBus</c>: HTTP services of this node for Rules of the cloud, and services of the cloud for applications at this node. Off by default.</summary>
public sealed record ServiceBusOptions
{
    public bool Enable { get; init; }

    /// <summary>Where applications of this node send their requests; port 0 takes a free one, which edgecore.ports.json names.</summary>
    public IPEndPoint Server { get; init; } = new(IPAddress.Loopback, 9060);

    /// <summary>How long a request of an application waits for the cloud's answer.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    internal static ServiceBusOptions Read(ConfigSection section)
    {
        var text = section.Text("server", "127.0.0.1");
        if (!IPAddress.TryParse(text, out var address))
        {
            section.Problem("server", $"is '{text}', must be an IP address, e.g. 127.0.0.1");
            address = IPAddress.Loopback;
        }

        return new ServiceBusOptions
        {
            Enable = section.Bool("enable", false),
            Server = new IPEndPoint(address, section.Int("port", 9060, 0, 65535)),
            Timeout = TimeSpan.FromSeconds(section.Int("timeout", 60, 1, 3_600)),
        };
    }
}
