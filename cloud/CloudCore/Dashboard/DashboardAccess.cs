using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Dashboard;

/// <summary>Who may see the page: with a token file, who brings the token; without one, who comes by loopback and by its name.</summary>
internal sealed class DashboardAccess
{
    /// <summary>A shorter token is refused at the start.</summary>
    public const int TokenLengthMin = 16;

    private readonly byte[]? _token; // its hash: equal lengths compare in equal time
    private readonly ILogger _logger;

    private DashboardAccess(byte[]? token, ILogger logger)
    {
        _token = token;
        _logger = logger;
    }

    /// <exception cref="CloudCoreException">The token file cannot be read, may be read by others than its owner and group, or its token is too short.</exception>
    public static DashboardAccess Load(string tokenFile, ILogger logger)
    {
        if (tokenFile.Length == 0)
            return new DashboardAccess(null, logger);
        string token;
        try
        {
            // A Secret's volume belongs to root, and is there for a pod's fsGroup to read.
            if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(tokenFile) & ~(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead)) is var more and not UnixFileMode.None)
                throw new CloudCoreException($"modules.dashboard.tokenFile {tokenFile} may be used by others ({more}); chmod 600 {tokenFile}");
            token = File.ReadLines(tokenFile).FirstOrDefault("").Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CloudCoreException($"modules.dashboard.tokenFile {tokenFile} cannot be read: {e.Message}", e);
        }

        if (token.Length < TokenLengthMin)
            throw new CloudCoreException($"modules.dashboard.tokenFile {tokenFile}: the first line must be a token of at least {TokenLengthMin} characters, e.g. from: openssl rand -hex 24");
        return new DashboardAccess(SHA256.HashData(Encoding.UTF8.GetBytes(token)), logger);
    }

    /// <summary>True when the request may go on; else it has been answered.</summary>
    public async ValueTask<bool> AllowsAsync(HttpContext context)
    {
        if (_token is null)
        {
            // A page of elsewhere whose name was made to lead to loopback shows itself by that name.
            var host = context.Request.Host.Host;
            if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || IPAddress.TryParse(host.Trim('[', ']'), out _))
                return true;
            await AnswerAsync(context, StatusCodes.Status403Forbidden, "ask by an IP address or localhost; other names need modules.dashboard.tokenFile\n");
            return false;
        }

        var header = context.Request.Headers.Authorization.ToString();
        if (Token(header) is { } given && CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(given)), _token))
            return true;
        if (header.Length > 0)
            DashboardLog.WrongToken(_logger, context.Connection.RemoteIpAddress?.ToString() ?? "");
        context.Response.Headers.WWWAuthenticate = "Basic realm=\"Edge\", charset=\"UTF-8\"";
        await AnswerAsync(context, StatusCodes.Status401Unauthorized, "the token of modules.dashboard.tokenFile is needed, as a bearer token or as password of any user\n");
        return false;
    }

    private static string? Token(string header)
    {
        if (header.Length > 4096)
            return null;
        if (header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
            return header["Bearer ".Length..].Trim();
        if (!header.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase))
            return null;
        var bytes = new byte[header.Length];
        if (!Convert.TryFromBase64String(header["Basic ".Length..].Trim(), bytes, out var length))
            return null;
        var pair = Encoding.UTF8.GetString(bytes, 0, length);
        return pair.IndexOf(':', StringComparison.Ordinal) is >= 0 and var colon ? pair[(colon + 1)..] : null;
    }

    private static Task AnswerAsync(HttpContext context, int code, string text)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(text, context.RequestAborted);
    }
}
