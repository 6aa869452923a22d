using System.Text.RegularExpressions;

namespace Edge.Core.Edged.Images;

/// <summary>Image names as users write them (grammar of the distribution project's reference, with Docker Hub's short forms). Pure.</summary>
internal static partial class ImageName
{
    private const int LengthMax = 1024;
    private const int RepositoryLengthMax = 255;
    private const string Invalid = "invalid reference format";

    /// <summary>The full repository, e.g. <c>docker.io/library/busybox</c> of <c>busybox:1</c>, without tag and digest.</summary>
    /// <param name="error">What is wrong, in the words of a kubelet's message.</param>
    public static bool TryRepository(string image, out string repository, out string error)
    {
        repository = "";
        error = image.Length is 0 or > LengthMax ? Invalid : "";
        if (error.Length > 0)
            return false;
        var match = Reference().Match(image);
        var name = match.Success ? match.Groups["name"].Value : Stem(image);
        var (domain, path) = Split(name);
        if (path.Any(char.IsAsciiLetterUpper))
            error = $"{Invalid}: repository name ({path}) must be lowercase";
        else if (!match.Success || !Domain().IsMatch(domain) || !Path().IsMatch(path))
            error = Invalid;
        else if (domain.Length + 1 + path.Length > RepositoryLengthMax)
            error = $"repository name must not be more than {RepositoryLengthMax} characters";
        else
            repository = $"{domain}/{path}";
        return error.Length == 0;
    }

    // Docker Hub unless the first part can only be a host; one-part names there are of "library".
    private static (string Domain, string Path) Split(string name)
    {
        var slash = name.IndexOf('/', StringComparison.Ordinal);
        var first = slash < 0 ? "" : name[..slash];
        var isHost = first.AsSpan().IndexOfAny('.', ':') >= 0 || first == "localhost" || first.Any(char.IsAsciiLetterUpper);
        var (domain, path) = isHost ? (first, name[(slash + 1)..]) : ("docker.io", name);
        if (domain == "index.docker.io")
            domain = "docker.io";
        return (domain, domain == "docker.io" && !path.Contains('/', StringComparison.Ordinal) ? "library/" + path : path);
    }

    private static string Stem(string image)
    {
        var at = image.IndexOf('@', StringComparison.Ordinal);
        var name = at < 0 ? image : image[..at];
        var colon = name.LastIndexOf(':');
        return colon > name.LastIndexOf('/') ? name[..colon] : name;
    }

    [GeneratedRegex(@"^(?<name>[A-Za-z0-9._:/\[\]-]+?)(:(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?<digest>[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?\z", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Reference();

    [GeneratedRegex(@"^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]+)?\z", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Domain();

    [GeneratedRegex(@"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Path();
}
