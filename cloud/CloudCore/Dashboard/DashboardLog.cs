using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Dashboard;

/// <summary>Ids 1870-1899.</summary>
internal static partial class DashboardLog
{
    [LoggerMessage(1870, LogLevel.Warning, "the dashboard could not list {Kinds} in time; it shows the rest and goes on trying")]
    public static partial void Incomplete(ILogger logger, string kinds);

    [LoggerMessage(1871, LogLevel.Warning, "a login to the dashboard from {Address} was refused: the token is not the one in modules.dashboard.tokenFile")]
    public static partial void WrongToken(ILogger logger, string address);
}
