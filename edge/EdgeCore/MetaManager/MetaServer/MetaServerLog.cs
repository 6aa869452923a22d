using Microsoft.Extensions.Logging;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Events 2050-2059.</summary>
internal static partial class MetaServerLog
{
    [LoggerMessage(2050, LogLevel.Information, "MetaServer answers on {Addresses}, with the CA {AuthorityFile}")]
    public static partial void Listening(ILogger log, string addresses, string authorityFile);

    [LoggerMessage(2051, LogLevel.Error, "MetaServer cannot answer on {Address}: {Reason}; trying again in {Seconds} s")]
    public static partial void NotListening(ILogger log, string address, string reason, double seconds);

    [LoggerMessage(2052, LogLevel.Warning, "MetaServer cannot answer pods with a network of their own on {Address} (modules.metaManager.metaServer.dummyServer): {Reason}; pods with hostNetwork reach it")]
    public static partial void NotForPods(ILogger log, string address, string reason);

    [LoggerMessage(2053, LogLevel.Error, "the request {Method} {Path} met a defect")]
    public static partial void Defect(ILogger log, string method, string path, Exception error);

    [LoggerMessage(2054, LogLevel.Warning, "the keys of the tokens' issuer could not be got: {Reason}; those known before go on")]
    public static partial void KeysNotGot(ILogger log, string reason);

    [LoggerMessage(2055, LogLevel.Warning, "MetaServer also answers plain HTTP on {Address}, without a token: every process on this machine has the rights of ServiceAccount {Account} there (modules.metaManager.metaServer.httpServiceAccount)")]
    public static partial void PlainHttp(ILogger log, string address, string account);
}
