using Edge.Cloud.Router;
using Edge.Common.Configuration;

namespace Edge.Cloud.Configuration;

/// <summary>Section <c>modules.router</c>: messages between HTTP services in the cloud and applications at edges, by Rules. Off by default.</summary>
public sealed record RouterOptions
{
    /// <summary>Where HTTP requests for edges come in.</summary>
    public ListenOn Listen { get; init; } = new(false, "0.0.0.0", 9443, "modules.router.port");

    /// <summary>How long a request waits for the edge's answer.</summary>
    public TimeSpan RestTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Plain HTTP without authentication, as KubeEdge's router has it. By default it is HTTPS with the hub's certificate, and a request needs the token of the Secret
    /// kubeedge/routertoken or a client certificate of the hub's CA that is not a node's.</summary>
    public bool IsInsecure { get; init; }

    /// <summary>allowTargets: hosts, addresses and networks of this machine and its link to which Rules may lead all the same; without them a Rule reaches none of it.</summary>
    public IReadOnlyList<string> AllowTargets { get; init; } = [];

    /// <summary><see cref="AllowTargets"/> as it is used. What <see cref="Read"/> has found wrong in it allows nothing.</summary>
    internal TargetAccess Access => TargetAccess.TryParse(AllowTargets, out var access, out _) ? access : TargetAccess.Default;

    internal static RouterOptions Read(ConfigSection section)
    {
        var absent = new RouterOptions();
        var address = section.Text("address", absent.Listen.Address);
        if (!System.Net.IPAddress.TryParse(address, out _))
            section.Problem("address", $"'{address}' is not an IP address, e.g. 0.0.0.0");
        var targets = section.Texts("allowTargets", []);
        if (!TargetAccess.TryParse(targets, out _, out var error))
            section.Problem("allowTargets", error);
        return new RouterOptions
        {
            Listen = absent.Listen with { IsEnabled = section.Bool("enable", false), Address = address, Port = section.Int("port", absent.Listen.Port, min: 0, max: 65535) },
            RestTimeout = TimeSpan.FromSeconds(section.Int("restTimeout", 60, min: 1, max: 3_600)),
            IsInsecure = section.Bool("insecure", false),
            AllowTargets = targets,
        };
    }
}
