namespace Edge.Common.Configuration;

/// <summary>A config file or <c>--set</c> that cannot be used. <see cref="Exception.Message"/> has every problem, one a line, each with file, line and key.</summary>
public sealed class ConfigException(IReadOnlyList<string> problems) : Exception(string.Join('\n', problems))
{
    public IReadOnlyList<string> Problems { get; } = problems;
}
