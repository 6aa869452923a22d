using System.Globalization;
using System.Net;
using Edge.Common.Configuration;

namespace Edge.Kubernetes;

/// <summary>Through which proxy a server is reached, by the rules of client-go: the kubeconfig's <c>proxy-url</c>, else HTTPS_PROXY or HTTP_PROXY less NO_PROXY (golang.org/x/net/http/httpproxy).</summary>
internal static class ProxyChoice
{
    /// <summary>The proxy for <paramref name="server"/>, or null for none.</summary>
    /// <param name="given">cluster.proxy-url: holds for every server.</param>
    /// <param name="environment">A variable's value by its name, or null.</param>
    /// <exception cref="ConfigException">A variable that is no URL of a proxy; its value is not told, it may hold a password.</exception>
    public static Uri? For(Uri server, Uri? given, Func<string, string?> environment)
    {
        if (given is not null)
            return given;
        var isTls = server.Scheme == Uri.UriSchemeHttps;
        var variable = new[] { isTls ? "HTTPS_PROXY" : "HTTP_PROXY", isTls ? "https_proxy" : "http_proxy" }.FirstOrDefault(name => !string.IsNullOrEmpty(environment(name)));
        if (variable is null || IsExempt(server.IdnHost, server.Port, Either(environment, "NO_PROXY", "no_proxy")))
            return null;
        var text = environment(variable)!;
        return TryRead(text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}")
            ?? throw new ConfigException([$"{variable} is not the URL of a proxy; it must be http, https or socks5, e.g. http://proxy:3128"]);
    }

    /// <summary>A proxy's URL; null for what is none.</summary>
    public static Uri? TryRead(string text)
        => Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" or "socks5" or "socks5h" && uri.Host.Length > 0 ? uri : null;

    /// <summary>The proxy as SocketsHttpHandler takes it: credentials apart, and one name for SOCKS5, which it lets resolve names in any case.</summary>
    public static IWebProxy ForHandler(Uri proxy)
    {
        var address = new UriBuilder(proxy) { UserName = "", Password = "", Scheme = proxy.Scheme == "socks5h" ? "socks5" : proxy.Scheme };
        if (proxy is { IsDefaultPort: true, Scheme: "socks5" or "socks5h" } || address.Port < 0)
            address.Port = 1080;
        var user = proxy.UserInfo.Split(':', 2);
        return new WebProxy(address.Uri) { Credentials = user[0].Length == 0 ? null : new NetworkCredential(Uri.UnescapeDataString(user[0]), user.Length > 1 ? Uri.UnescapeDataString(user[1]) : "") };
    }

    /// <summary>NO_PROXY: <c>*</c>, addresses, CIDR ranges, domains with all below them (<c>.domain</c> and <c>*.domain</c>: only those below), each but a range with an optional port. Loopback is always exempt.</summary>
    private static bool IsExempt(string host, int port, string list)
    {
        host = host.Trim('[', ']').ToLowerInvariant();
        var address = IPAddress.TryParse(host, out var parsed) ? parsed : null;
        return host == "localhost" || (address is not null && IPAddress.IsLoopback(address))
            || list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Any(entry => Matches(entry.ToLowerInvariant(), host, address, port));
    }

    private static bool Matches(string entry, string host, IPAddress? address, int port)
    {
        if (entry == "*")
            return true;
        if (entry.Contains('/', StringComparison.Ordinal))
            return address is not null && IPNetwork.TryParse(entry, out var range) && range.Contains(address);
        var name = entry;
        // IPAddress would read a port behind brackets and leave it out.
        if ((name.StartsWith('[') || !IPAddress.TryParse(name, out _)) && name.LastIndexOf(':') is > 0 and var colon && colon > name.LastIndexOf(']')
            && int.TryParse(name[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var only))
        {
            if (only != port)
                return false;
            name = name[..colon];
        }

        if (IPAddress.TryParse(name.Trim('[', ']'), out var one))
            return one.Equals(address);
        name = name.StartsWith("*.", StringComparison.Ordinal) ? name[1..] : name;
        return name.StartsWith('.') ? host.EndsWith(name, StringComparison.Ordinal) : host == name || host.EndsWith($".{name}", StringComparison.Ordinal);
    }

    private static string Either(Func<string, string?> environment, string first, string second) => environment(first) is { Length: > 0 } value ? value : environment(second) ?? "";
}
