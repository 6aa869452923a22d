namespace Edge.Devices.Push;

/// <summary>What databases ask for, as KubeEdge's mappers have it: in the environment, not in a manifest. Never logged.</summary>
/// <param name="InfluxToken">TOKEN, of InfluxDB; empty for none.</param>
/// <param name="UserName">USERNAME, of TDengine; MySQL's stands in the manifest.</param>
/// <param name="Password">PASSWORD, of Redis, TDengine and MySQL; empty for none.</param>
public sealed record PushCredentials(string InfluxToken = "", string UserName = "", string Password = "")
{
    public static PushCredentials OfEnvironment()
        => new(Environment.GetEnvironmentVariable("TOKEN") ?? "", Environment.GetEnvironmentVariable("USERNAME") ?? "", Environment.GetEnvironmentVariable("PASSWORD") ?? "");

    /// <summary>Says which are set, not what they are.</summary>
    public override string ToString() => $"token {(InfluxToken.Length > 0 ? "set" : "none")}, password {(Password.Length > 0 ? "set" : "none")}";
}
