namespace Edge.ApiServer.InProcess;

/// <summary>Bodies of requests from within the process and of their answers, handed over as they are.</summary>
internal interface IWholeBodyFeature
{
    /// <summary>The request's body; not to be changed.</summary>
    byte[] Asked { get; }

    /// <summary>Answers with this, and nothing else.</summary>
    /// <param name="body">Not to be changed afterwards.</param>
    void Answer(byte[] body);
}
