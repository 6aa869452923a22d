using System.Net;
using Edge.GlobalServices.Zones;
using Edge.Common.Configuration;

namespace Edge.Cloud.Gslb.Module;

/// <summary>Settings of the GSLB module, <c>modules.gslb</c> of cloudcore.yaml.</summary>
public sealed record GslbOptions
{
    public bool IsEnabled { get; init; }

    /// <summary>An IP address; 0.0.0.0 for all of IPv4, :: for both versions.</summary>
    public string Address { get; init; } = "0.0.0.0";

    /// <summary>UDP and TCP; 0 chooses a free one.</summary>
    public int Port { get; init; } = 53;

    /// <summary>Resolvers whose client subnets are believed (RFC 7871 §7.2.1), as addresses or networks; none by default: then a client is where its resolver is.</summary>
    public IReadOnlyList<string> EcsResolvers { get; init; } = [];

    /// <summary>The answer to NSID (RFC 5001); empty: none.</summary>
    public string Nsid { get; init; } = "";

    /// <summary>Equal answers a second over UDP to one client network; 0: no limit. Too low and busy resolvers come again over TCP.</summary>
    public int ResponsesPerSecond { get; init; }

    /// <summary>Whether the process has no hub (<c>--modules gslb</c>), so that most of its files may be connections that health checks keep.</summary>
    public bool IsAlone { get; init; }

    /// <summary>Reads the section; problems go to the file.</summary>
    public static GslbOptions Read(ConfigSection section)
    {
        var options = new GslbOptions
        {
            IsEnabled = section.Bool("enable", false),
            Address = section.Text("address", "0.0.0.0"),
            Port = section.Int("port", 53, min: 0, max: 65_535),
            EcsResolvers = section.Texts("ecsResolvers", []),
            Nsid = section.Text("nsid", ""),
            ResponsesPerSecond = section.Int("responsesPerSecond", 0, min: 0, max: 1_000_000),
        };
        if (!IPAddress.TryParse(options.Address, out _))
            section.Problem("address", $"'{options.Address}' is not an IP address, e.g. 0.0.0.0");
        if (!NetworkList.TryParse(options.EcsResolvers, out _, out var error))
            section.Problem("ecsResolvers", error);
        if (System.Text.Encoding.UTF8.GetByteCount(options.Nsid) > 64)
            section.Problem("nsid", "is longer than 64 bytes");
        return options;
    }
}

/// <summary>The module cannot start; the message says why and what to change.</summary>
public sealed class GslbException(string message, Exception? inner = null) : Exception(message, inner);
