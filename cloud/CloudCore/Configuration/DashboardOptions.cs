using System.Net;
using Edge.Common.Configuration;

namespace Edge.Cloud.Configuration;

/// <summary>Section <c>modules.dashboard</c>: the web page beside /metrics. Open on loopback; anywhere else it takes a token.</summary>
public sealed record DashboardOptions
{
    /// <summary>Default: true where the address is loopback or a token is given, else false.</summary>
    public bool IsEnabled { get; init; } = true;

    /// <summary>A file of mode 0600, or 0440 where it is a group's to read, whose first line is the token that a browser (as password, any user) or a program (as bearer) must bring. Empty: nothing is asked, which only
    /// loopback allows.</summary>
    public string TokenFile { get; init; } = "";

    /// <param name="monitor">Where the page is served.</param>
    internal static DashboardOptions Read(ConfigSection section, ListenOn monitor)
    {
        var token = section.Text("tokenFile", "");
        var isLoopback = IPAddress.TryParse(monitor.Address, out var address) && IPAddress.IsLoopback(address);
        var isEnabled = section.Bool("enable", isLoopback || token.Length > 0);
        if (isEnabled && !isLoopback && token.Length == 0)
            section.Problem("tokenFile", $"is empty, but {monitor.PortKey} is {monitor.Address}, not loopback: name a file of mode 0600 with a token, or set modules.dashboard.enable to false");
        return new DashboardOptions { IsEnabled = isEnabled, TokenFile = token };
    }
}
