using System.Globalization;
using System.Text.RegularExpressions;

namespace Edge.ApiServer.Discovery;

/// <summary>Kubernetes' order of API versions (CustomResourceDefinition versioning, "Version priority"): v2, v1, v11beta2, v10beta3, v3alpha1, others.</summary>
internal static partial class VersionRank
{
    /// <summary>The larger, the more preferred.</summary>
    public static (int Stability, int Major, int Minor) Of(string version)
    {
        var match = Pattern().Match(version);
        if (!match.Success)
            return (0, 0, 0);
        var stability = match.Groups[2].Value switch
        {
            "" => 3,
            "beta" => 2,
            _ => 1,
        };
        return (stability, Number(match.Groups[1].Value), Number(match.Groups[3].Value));
    }

    private static int Number(string digits) => int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;

    [GeneratedRegex("^v([1-9][0-9]{0,8})(?:(alpha|beta)([1-9][0-9]{0,8}))?$")]
    private static partial Regex Pattern();
}
